"""Who we are to a store in the network, and how it is reached: the options of the native client.

Secrets are in what these functions return, and in nothing that they raise.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from automq.objectstore.location import BadUri, CloudLocation

AWS_ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)
"""What is taken from the environment: who we are. Where the store is, only its URI says."""
AWS_METADATA = "AWS_EC2_METADATA_SERVICE_ENDPOINT"

OSS_KEYS = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")
ALIBABA_KEYS = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
)
ALIBABA_ROLES = (
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_ROLE_SESSION_NAME",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    "ALIBABA_CLOUD_STS_ENDPOINT",
    "ALIBABA_CLOUD_ECS_METADATA",
    "ALIBABA_CLOUD_ECS_METADATA_DISABLED",
    "ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT",
    "ALIBABA_CLOUD_IMDSV1_DISABLED",
)

GOOGLE_ENVIRONMENT = {
    "GOOGLE_APPLICATION_CREDENTIALS": "google_application_credentials",
    "GOOGLE_SERVICE_ACCOUNT": "google_service_account",
    "GOOGLE_SERVICE_ACCOUNT_KEY": "google_service_account_key",
}

AZURE_ENVIRONMENT = {
    "AZURE_STORAGE_ACCOUNT_NAME": "azure_storage_account_name",
    "AZURE_STORAGE_ACCOUNT_KEY": "azure_storage_account_key",
    "AZURE_STORAGE_SAS_TOKEN": "azure_storage_sas_token",
    "AZURE_CLIENT_ID": "azure_client_id",
    "AZURE_CLIENT_SECRET": "azure_client_secret",
    "AZURE_TENANT_ID": "azure_tenant_id",
    "AZURE_AUTHORITY_HOST": "azure_authority_host",
    "AZURE_FEDERATED_TOKEN_FILE": "azure_federated_token_file",
    "IDENTITY_ENDPOINT": "azure_identity_endpoint",
}

_OSS_HOST = re.compile(r"https?://oss-([a-z0-9-]+?)(-internal)?\.aliyuncs\.com")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Static keys of an S3-compatible store or of OSS, from a configuration. Never shown."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


Options = Callable[
    [CloudLocation, Credentials | None, Mapping[str, str], str | None], dict[str, str]
]


def s3_options(
    at: CloudLocation,
    credentials: Credentials | None,
    environ: Mapping[str, str],
    configured_region: str | None = None,
) -> dict[str, str]:
    """The options of a store that speaks S3. Raises BadUri for half a key."""
    region = at.region or configured_region
    region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    options = {
        "aws_region": region or "us-east-1",
        "aws_virtual_hosted_style_request": str(not at.path_style).lower(),
    }
    if at.endpoint is not None:
        options["aws_endpoint"] = _with_bucket(at, at.endpoint)
        options["aws_allow_http"] = _allow_http(at)
    if credentials is not None:
        options["aws_access_key_id"] = credentials.access_key_id
        options["aws_secret_access_key"] = credentials.secret_access_key
        if credentials.session_token is not None:
            options["aws_session_token"] = credentials.session_token
        return options
    options |= {name.lower(): environ[name] for name in AWS_ENVIRONMENT if environ.get(name)}
    if environ.get(AWS_METADATA):
        options["aws_metadata_endpoint"] = environ[AWS_METADATA]
    _whole_key(at, environ, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return options


def oss_options(
    at: CloudLocation,
    credentials: Credentials | None,
    environ: Mapping[str, str],
    configured_region: str | None = None,
) -> dict[str, str]:
    """The options of Alibaba OSS. Raises BadUri for half a key, and without a region."""
    named = _OSS_HOST.fullmatch(at.endpoint or "")
    region = at.region or (named[1] if named else None) or configured_region
    region = region or environ.get("OSS_REGION")
    if not region:
        raise BadUri(f"storage URI {at}: OSS needs a region; add ?region=cn-hangzhou")
    region = region.removeprefix("oss-")
    endpoint = at.endpoint or f"https://oss-{region}.aliyuncs.com"
    options = {
        "region": region,
        "endpoint": _with_bucket(at, endpoint),
        "path_style": str(at.path_style).lower(),
    }
    if credentials is not None:
        given = (
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token,
        )
        return options | {k: v for k, v in zip(OSS_KEYS, given, strict=True) if v is not None}
    for names in (OSS_KEYS, ALIBABA_KEYS):
        _whole_key(at, environ, names[0], names[1])
        if environ.get(names[0]):
            return options | {name: environ[name] for name in names if environ.get(name)}
    return options | {name: environ[name] for name in ALIBABA_ROLES if environ.get(name)}


def gs_options(
    at: CloudLocation,
    credentials: Credentials | None,
    environ: Mapping[str, str],
    configured_region: str | None = None,
) -> dict[str, str]:
    """The options of Google Cloud Storage: a service account, else the machine's own."""
    options = _named(GOOGLE_ENVIRONMENT, environ)
    if at.endpoint is not None:
        options |= {"google_base_url": at.endpoint, "allow_http": _allow_http(at)}
    return options


def az_options(
    at: CloudLocation,
    credentials: Credentials | None,
    environ: Mapping[str, str],
    configured_region: str | None = None,
) -> dict[str, str]:
    """The options of Azure: an account key, a SAS, a client, else the managed identity."""
    options = _named(AZURE_ENVIRONMENT, environ)
    if at.account is not None:
        options["azure_storage_account_name"] = at.account
    if "azure_storage_account_name" not in options:
        raise BadUri(f"storage URI {at}: Azure needs an account; add ?account=...")
    if at.endpoint is not None:
        account = options["azure_storage_account_name"]
        # An endpoint with the account's name in its host is the account's; another has many.
        is_own = f"//{account}." in at.endpoint
        options["azure_storage_endpoint"] = at.endpoint if is_own else f"{at.endpoint}/{account}"
        options["azure_allow_http"] = _allow_http(at)
    return options


OPTIONS: Final[Mapping[str, Options]] = {
    "s3": s3_options,
    "oss": oss_options,
    "gs": gs_options,
    "az": az_options,
}


def _named(names: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    return {option: environ[name] for name, option in names.items() if environ.get(name)}


def _with_bucket(at: CloudLocation, endpoint: str) -> str:
    scheme, host = endpoint.split("://", 1)
    return endpoint if at.path_style else f"{scheme}://{at.bucket}.{host}"


def _allow_http(at: CloudLocation) -> str:
    return str((at.endpoint or "").startswith("http:")).lower()


def _whole_key(at: CloudLocation, environ: Mapping[str, str], key_id: str, secret: str) -> None:
    if bool(environ.get(key_id)) != bool(environ.get(secret)):
        raise BadUri(
            f"storage URI {at}: one of {key_id} and {secret} is set; set both, or none to use the"
            " machine's role"
        )
