"""A server that answers as Alibaba OSS documents, and believes nobody without a V4 signature.

What it does is proven by Alibaba's own SDK (tests/objectstore/test_oss.py). Source: OSS API
reference, "Include a V4 signature in the Authorization header", PutObject (x-oss-forbid-overwrite),
GetObject, ListObjectsV2, DeleteMultipleObjects, CopyObject, multipart upload, error responses.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from threading import Lock
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from support.http_server import http_server

SETTINGS = {
    "versioning": "",
    "lifecycle": "NoSuchLifecycle",
    "worm": "NoSuchWORMConfiguration",
}
"""Questions about a bucket, and what they are answered with where nothing is set."""
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
AUTHORIZATION = re.compile(
    r"OSS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>[^,]+)"
    r"(,AdditionalHeaders=(?P<more>[^,]+))?,Signature=(?P<signature>[0-9a-f]{64})"
)


class Refused(Exception):
    """An answer other than success: status, code, message."""


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    raw_query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class OssServer:
    """One bucket, addressed by path. `throttle` so many requests are answered with 503."""

    bucket: str = "bucket"
    region: str = "cn-hangzhou"
    secrets: dict[str, str] = field(default_factory=lambda: {"LTAIkey": "hush"})
    token: str | None = None
    page_keys: int = 1000
    throttle: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    """What is set for the bucket, by question: "versioning", "lifecycle", "worm"; in XML."""
    ignores_conditions: bool = False
    """As OSS does in a bucket that is or was versioned."""
    denied: set[str] = field(default_factory=set)
    """Methods, and questions about the bucket, that this user has no right to."""
    refuse_to_delete: set[str] = field(default_factory=set)
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)
    endpoint: str = ""
    lock: Lock = field(default_factory=Lock)

    def answer(self, request: Request) -> Answer:
        with self.lock:
            self.seen.append(request)
            if self.throttle > 0:
                self.throttle -= 1
                raise Refused(503, "QpsLimitExceeded", "Please reduce your request rate.")
            self.check_signature(request)
            if self.denied & {request.method, *request.query}:
                raise Refused(403, "AccessDenied", "You have no right to do this.")
            bucket, _, key = unquote(request.path)[1:].partition("/")
            if bucket != self.bucket:
                raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
            if not key:
                return self.of_bucket(request)
            return self.of_object(request, key)

    # -- the signature, written after the documentation and not after any client

    def check_signature(self, request: Request) -> None:
        given = AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if given is None:
            raise Refused(403, "AccessDenied", "You have no right to access this object.")
        if given["key"] not in self.secrets:
            raise Refused(403, "InvalidAccessKeyId", "The OSS Access Key Id you provided is gone.")
        if self.token is not None and request.headers.get("x-oss-security-token") != self.token:
            raise Refused(403, "InvalidSecurityToken", "The security token is no longer valid.")
        if request.headers.get("x-oss-content-sha256") != "UNSIGNED-PAYLOAD":
            raise Refused(400, "InvalidArgument", "x-oss-content-sha256 must be UNSIGNED-PAYLOAD.")
        stamp = request.headers.get("x-oss-date", "")
        scope = f"{stamp[:8]}/{self.region}/oss/aliyun_v4_request"
        if given["scope"] != scope:
            raise Refused(403, "SignatureDoesNotMatch", f"The scope must be {scope}.")
        canonical = self.canonical(request, (given["more"] or "").split(";"))
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"OSS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}"
        key = f"aliyun_v4{self.secrets[given['key']]}".encode()
        for step in scope.split("/"):
            key = hmac.digest(key, step.encode(), "sha256")
        if hmac.digest(key, to_sign.encode(), "sha256").hex() != given["signature"]:
            raise Refused(403, "SignatureDoesNotMatch", "Check your secret and signing method.")

    @staticmethod
    def canonical(request: Request, more: list[str]) -> str:
        pairs = sorted(pair.split("=", 1) for pair in request.raw_query.split("&") if pair)
        query = "&".join(pair[0] if pair[1:] in ([], [""]) else "=".join(pair) for pair in pairs)
        signed = {
            name: value.strip()
            for name, value in request.headers.items()
            if name in ("content-type", "content-md5", *more) or name.startswith("x-oss-")
        }
        headers = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        path = quote(unquote(request.path), safe="/-._~")
        named = ";".join(name for name in more if name)
        return f"{request.method}\n{path}\n{query}\n{headers}\n{named}\nUNSIGNED-PAYLOAD"

    # -- the bucket

    def of_bucket(self, request: Request) -> Answer:
        if request.method == "GET" and request.query.get("list-type") == "2":
            return self.listed(request.query)
        if request.method == "POST" and "delete" in request.query:
            return self.deleted(request)
        for question, missing in SETTINGS.items():
            if request.method == "GET" and question in request.query:
                if question in self.settings:
                    return xml(self.settings[question])
                if missing:
                    raise Refused(404, missing, "Nothing of the kind is set.")
                return xml("<VersioningConfiguration/>")
        raise Refused(405, "MethodNotAllowed", "The specified method is not allowed.")

    def listed(self, query: dict[str, str]) -> Answer:
        after = query.get("continuation-token") or query.get("start-after", "")
        prefix = query.get("prefix", "")
        order = sorted(self.objects, key=str.encode)
        keys = [k for k in order if k.startswith(prefix) and k.encode() > after.encode()]
        most = min(self.page_keys, int(query.get("max-keys", "1000")))
        shown = keys[:most]
        name = quote if query.get("encoding-type") == "url" else escape
        rows = "".join(
            f"<Contents><Key>{name(key)}</Key><LastModified>{now_iso()}</LastModified>"
            f'<ETag>"{etag(self.objects[key])}"</ETag><Type>Normal</Type>'
            f"<Size>{len(self.objects[key])}</Size><StorageClass>Standard</StorageClass></Contents>"
            for key in shown
        )
        more = len(keys) > most
        tail = f"<NextContinuationToken>{name(shown[-1])}</NextContinuationToken>" if more else ""
        encoding = "<EncodingType>url</EncodingType>" if "encoding-type" in query else ""
        return xml(
            f"<ListBucketResult><Name>{self.bucket}</Name><Prefix>{name(prefix)}</Prefix>"
            f"<MaxKeys>{most}</MaxKeys><KeyCount>{len(shown)}</KeyCount>{encoding}"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{tail}{rows}</ListBucketResult>"
        )

    def deleted(self, request: Request) -> Answer:
        md5 = base64.b64encode(hashlib.md5(request.body).digest()).decode()
        if request.headers.get("content-md5") != md5:
            raise Refused(400, "InvalidDigest", "The Content-MD5 you specified is not valid.")
        keys = [
            node.text or ""
            for node in ElementTree.fromstring(request.body).iter()
            if node.tag.rpartition("}")[2] == "Key"
        ]
        if len(keys) > 1000:
            raise Refused(400, "MalformedXML", "More than 1000 keys.")
        rows = ""
        for key in keys:
            if key in self.refuse_to_delete:
                rows += (
                    f"<Error><Key>{escape(key)}</Key><Code>AccessDenied</Code>"
                    "<Message>kept by a retention policy</Message></Error>"
                )
            else:
                self.objects.pop(key, None)
                rows += f"<Deleted><Key>{escape(key)}</Key></Deleted>"
        return xml(f"<DeleteResult>{rows}</DeleteResult>")

    # -- objects

    def of_object(self, request: Request, key: str) -> Answer:
        match request.method:
            case "PUT" if "partNumber" in request.query:
                upload = self.upload(request)
                upload[int(request.query["partNumber"])] = request.body
                return tagged(request.body)
            case "PUT":
                return self.put(request, key)
            case "GET" | "HEAD":
                return self.got(request, key)
            case "DELETE" if "uploadId" in request.query:
                self.upload(request)
                del self.uploads[request.query["uploadId"]]
                return Answer(status=204)
            case "DELETE":
                self.objects.pop(key, None)
                return Answer(status=204)
            case "POST" if "uploads" in request.query:
                upload_id = f"U{len(self.seen)}"
                self.uploads[upload_id] = {}
                return xml(
                    f"<InitiateMultipartUploadResult><Bucket>{self.bucket}</Bucket>"
                    f"<Key>{escape(key)}</Key><UploadId>{upload_id}</UploadId>"
                    "</InitiateMultipartUploadResult>"
                )
            case "POST" if "uploadId" in request.query:
                return self.completed(request, key)
        raise Refused(405, "MethodNotAllowed", "The specified method is not allowed.")

    def put(self, request: Request, key: str) -> Answer:
        is_create = request.headers.get("x-oss-forbid-overwrite") == "true"
        if is_create and key in self.objects and not self.ignores_conditions:
            raise Refused(409, "FileAlreadyExists", "The object you specified already exists.")
        source = request.headers.get("x-oss-copy-source")
        if source is None:
            self.objects[key] = request.body
            return tagged(request.body)
        name = unquote(source)
        if not name.startswith(f"/{self.bucket}/"):
            raise Refused(400, "InvalidArgument", "Copy Source must be /bucket/object.")
        body = self.objects[key] = self.object(name[len(self.bucket) + 2 :])
        return xml(
            f'<CopyObjectResult><LastModified>{now_iso()}</LastModified><ETag>"{etag(body)}"</ETag>'
            "</CopyObjectResult>"
        )

    def got(self, request: Request, key: str) -> Answer:
        body = self.object(key)
        headers = {"ETag": f'"{etag(body)}"', "Last-Modified": formatdate(usegmt=True)}
        asked = RANGE.fullmatch(request.headers.get("range", ""))
        if asked is None:
            return Answer(body, headers=headers)
        start = int(asked[1])
        end = int(asked[2]) + 1 if asked[2] else len(body)
        if start >= len(body):
            # As documented: a range that is not valid is ignored unless the client says otherwise.
            if request.headers.get("x-oss-range-behavior") == "standard":
                raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.")
            return Answer(body, headers=headers)
        end = min(end, len(body))
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
        return Answer(body[start:end], 206, headers)

    def completed(self, request: Request, key: str) -> Answer:
        parts = self.upload(request)
        nodes = ElementTree.fromstring(request.body).iter()
        numbers = [int(n.text or "0") for n in nodes if n.tag.rpartition("}")[2] == "PartNumber"]
        if numbers != sorted(parts):
            raise Refused(400, "InvalidPart", "One or more of the specified parts is missing.")
        body = self.objects[key] = b"".join(parts[number] for number in numbers)
        del self.uploads[request.query["uploadId"]]
        return xml(
            f"<CompleteMultipartUploadResult><Location>x</Location><Bucket>{self.bucket}</Bucket>"
            f'<Key>{escape(key)}</Key><ETag>"{etag(body)}"</ETag></CompleteMultipartUploadResult>'
        )

    def object(self, key: str) -> bytes:
        if key not in self.objects:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        return self.objects[key]

    def upload(self, request: Request) -> dict[int, bytes]:
        parts = self.uploads.get(request.query["uploadId"])
        if parts is None:
            raise Refused(404, "NoSuchUpload", "The specified upload does not exist.")
        return parts


def now_iso() -> str:
    """When any object was written, as lists say it: nobody here asks about an old one."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def etag(body: bytes) -> str:
    return hashlib.md5(body).hexdigest().upper()


def tagged(body: bytes) -> Answer:
    return Answer(headers={"ETag": f'"{etag(body)}"'})


def xml(text: str) -> Answer:
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return Answer((head + text).encode(), headers={"Content-Type": "application/xml"})


@contextmanager
def serving(oss: OssServer) -> Iterator[OssServer]:
    """`oss`, listening on a free port of this machine; its `endpoint` says where."""
    with http_server(handler_of(oss)) as oss.endpoint:
        yield oss


def handler_of(oss: OssServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            answer = self.answered()
            self.send_response(answer.status)
            self.send_header("x-oss-request-id", "5C3D9175B6FC201293AD****")
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def answered(self) -> Answer:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            url = urlsplit(self.path)
            pairs = (pair.partition("=") for pair in url.query.split("&") if pair)
            query = {unquote(name): unquote(value) for name, _, value in pairs}
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                return oss.answer(Request(self.command, url.path, query, url.query, headers, body))
            except Refused as refused:
                status, code, message = refused.args
                error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
                return Answer(error.encode(), status, {"Content-Type": "application/xml"})

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing: the tests look at `seen`."""

    for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    return Handler
