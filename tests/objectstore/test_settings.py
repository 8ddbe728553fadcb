"""What the settings of a bucket mean, in the words of S3 and of OSS."""

import pytest

from automq.objectstore import BucketSettings, Denied, open_store
from automq.objectstore.check.bucket import judge
from automq.objectstore.check.finding import Outcome
from automq.objectstore.providers import Credentials
from automq.objectstore.settings import Answer
from automq.world import system_world
from support.oss_server import OssServer

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def versioning(status: str) -> str:
    inner = f"<Status>{status}</Status>"
    return f"<VersioningConfiguration {NAMESPACE}>{inner}</VersioningConfiguration>"


def rules(*inner: str) -> str:
    blocks = "".join(f"<Rule><Status>Enabled</Status>{it}</Rule>" for it in inner)
    return f"<LifecycleConfiguration>{blocks}</LifecycleConfiguration>"


def s3(**answers: Answer) -> BucketSettings:
    known: dict[str, Answer] = {"versioning": "<VersioningConfiguration/>", "lifecycle": None}
    named = {name.replace("_", "-"): answer for name, answer in answers.items()}
    return BucketSettings("clusters/one", known | {"object-lock": None} | named)


def outcome(settings: BucketSettings, what: str) -> Outcome:
    [finding] = [it for it in judge(settings) if it.what == what]
    return finding.outcome


def test_a_bucket_where_nothing_is_set_is_fine() -> None:
    assert {it.outcome for it in judge(s3())} == {Outcome.OK}


@pytest.mark.parametrize(
    ("status", "in_s3", "in_oss"),
    [
        ("Enabled", Outcome.WARNING, Outcome.UNFIT),
        ("Suspended", Outcome.OK, Outcome.UNFIT),
    ],
)
def test_versions_cost_money_in_s3_and_the_condition_in_oss(
    status: str, in_s3: Outcome, in_oss: Outcome
) -> None:
    told = versioning(status)
    assert outcome(s3(versioning=told), "versioning") is in_s3
    oss = BucketSettings(answers={"versioning": told, "lifecycle": None, "worm": None})
    assert outcome(oss, "versioning") is in_oss


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("<Prefix></Prefix><Expiration><Days>30</Days></Expiration>", Outcome.UNFIT),
        ("<Prefix>clusters/</Prefix><Expiration><Days>30</Days></Expiration>", Outcome.UNFIT),
        (
            "<Prefix>clusters/one/meta</Prefix><Expiration><Date>x</Date></Expiration>",
            Outcome.UNFIT,
        ),
        ("<Prefix>clusters/two/</Prefix><Expiration><Days>30</Days></Expiration>", Outcome.OK),
        (
            "<Filter><Tag><Key>a</Key></Tag></Filter><Expiration><Days>1</Days></Expiration>",
            Outcome.OK,
        ),
        (
            "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
            Outcome.OK,
        ),
        (
            "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>"
            "</NoncurrentVersionExpiration>",
            Outcome.OK,
        ),
        ("<AbortIncompleteMultipartUpload/>", Outcome.OK),
        ("<Transition><StorageClass>STANDARD_IA</StorageClass></Transition>", Outcome.WARNING),
        ("<Transition><StorageClass>DEEP_ARCHIVE</StorageClass></Transition>", Outcome.UNFIT),
        ("<Transition><StorageClass>ColdArchive</StorageClass></Transition>", Outcome.UNFIT),
    ],
)
def test_a_rule_that_takes_our_objects_away_is_unfit(rule: str, wanted: Outcome) -> None:
    assert outcome(s3(lifecycle=rules(rule)), "lifecycle rules") is wanted


def test_a_rule_that_is_off_does_nothing() -> None:
    text = rules("<Expiration><Days>1</Days></Expiration>").replace("Enabled", "Disabled")
    assert outcome(s3(lifecycle=text), "lifecycle rules") is Outcome.OK


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("<ObjectLockEnabled>Enabled</ObjectLockEnabled>", Outcome.WARNING),
        (
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
            "<Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule>",
            Outcome.UNFIT,
        ),
    ],
)
def test_a_lock_that_objects_get_by_themselves_is_unfit(answer: str, wanted: Outcome) -> None:
    assert outcome(s3(object_lock=answer), "object lock") is wanted


def test_what_the_store_refuses_to_tell_is_not_known() -> None:
    refused = Denied("versioning", "s3://b", "", "403 AccessDenied: no")
    settings = s3(versioning=refused, lifecycle="<ListBucketResult></ListBucketResult>")
    assert outcome(settings, "versioning") is Outcome.UNKNOWN
    assert outcome(settings, "lifecycle rules") is Outcome.UNKNOWN


# -- asking a server


async def test_oss_is_asked_in_its_own_words(oss: OssServer, oss_uri: str) -> None:
    keys = Credentials(*next(iter(oss.secrets.items())))
    oss.settings["versioning"] = versioning("Suspended")
    oss.settings["worm"] = "<WormConfiguration><State>Locked</State></WormConfiguration>"
    oss.denied.add("lifecycle")
    store = open_store(oss_uri, system_world(), credentials=keys)
    settings = await store.settings()
    await store.close()
    assert [it.outcome for it in judge(settings)] == [
        Outcome.UNFIT,
        Outcome.UNFIT,
        Outcome.UNKNOWN,
    ]
    assert [it.raw_query for it in oss.seen] == ["versioning", "lifecycle", "worm"]
    assert all(it.path == "/bucket/" for it in oss.seen)


async def test_s3_answers_what_is_set(s3_uri: str, s3_keys: Credentials) -> None:
    store = open_store(s3_uri, system_world(), credentials=s3_keys)
    settings = await store.settings()
    await store.close()
    assert {it.outcome for it in judge(settings)} == {Outcome.OK}
    assert s3_uri.startswith(f"s3://automq-tests/{settings.prefix}?")
