"""What a postgresql:// URI says, and how it is refused."""

import pytest

from automq.metadata.postgres import Location, parse_uri
from automq.metadata.postgres.location import Standby
from automq.objectstore import BadUri


def test_a_uri_names_hosts_user_database_and_table() -> None:
    assert parse_uri("postgresql://me@db/meta") == Location((("db", 5432),), "me", "meta")
    assert parse_uri(
        "postgresql://me@a:1,[::1]:2/meta?table=s.t&timeout_ms=500&sslmode=verify-full"
        "&sslrootcert=/ca.pem&passfile=/p&target_session_attrs=read-write"
    ) == Location(
        hosts=(("a", 1), ("::1", 2)),
        user="me",
        database="meta",
        table="s.t",
        standby=Standby.REQUIRED,
        timeout_ms=500,
        passfile="/p",
        tls=(("sslmode", "verify-full"), ("sslrootcert", "/ca.pem")),
    )


def test_several_hosts_mean_a_standby_and_one_says_nothing() -> None:
    assert parse_uri("postgresql://me@a,b/m").standby is Standby.REQUIRED
    assert parse_uri("postgresql://me@a/m").standby is Standby.UNSAID
    assert parse_uri("postgresql://me@a/m?standby=none").standby is Standby.NONE


def test_it_is_shown_without_parameters() -> None:
    where = parse_uri("postgresql://me@a:1,[::1]/m?passfile=/p&sslkey=/k")

    assert str(where) == "postgresql://me@a:1,[::1]:5432/m (table automq_metadata)"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("postgresql://db/meta", "is not like postgresql://user@host"),
        ("postgresql://me@db", "is not like postgresql://user@host"),
        ("postgresql://me@db/a/b", "is not like postgresql://user@host"),
        ("postgresql://me@db:0/meta", "is no host and port"),
        ("postgresql://me@db,/meta", "'' is no host and port"),
        ("postgresql://me@db/meta?pasword=x", "unknown parameter 'pasword'"),
        ("postgresql://me@db/meta?table=a&table=b", "given twice"),
        ("postgresql://me@db/meta?table=", "'table' is empty"),
        ("postgresql://me@db/meta?table=a;drop", "make a name"),
        ("postgresql://me@db/meta?standby=maybe", "neither required nor none"),
        ("postgresql://me@a,b/meta?standby=none", "no other server takes over, and 2 are named"),
        ("postgresql://me@db/meta?timeout_ms=1", "at least 100 milliseconds"),
        ("postgresql://me@db/meta?target_session_attrs=any", "the register writes"),
        ("postgresql://me@db/meta#x", "has a '#'"),
    ],
)
def test_a_bad_uri_is_refused_with_what_is_wrong(uri: str, says: str) -> None:
    with pytest.raises(BadUri, match=r"metadata URI") as refused:
        parse_uri(uri)

    assert says in str(refused.value)


def test_a_password_in_a_uri_is_refused_and_not_shown() -> None:
    with pytest.raises(BadUri, match=r"automq\.postgres\.password") as refused:
        parse_uri("postgresql://me:geheim@db/meta")

    assert "geheim" not in str(refused.value)
