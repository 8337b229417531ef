"""Tables of issuers: each thing that cannot be is refused by its line."""

from __future__ import annotations

import pytest

from flyinglow.nodectl.errors import InvalidError
from flyinglow.server.configuration.file import parse

GOOD = {"url": '"https://idp.example"', "audience": '"fl"', "keys_url": '"https://idp.example/keys"'}


def table(name: str = "grid", **keys: str) -> str:
    lines = [f"{key} = {value}" for key, value in {**GOOD, **keys}.items() if value]
    return "\n".join([f"[issuer.{name}]", *lines, ""])


def test_an_issuer_is_read() -> None:
    (issuer,) = parse(table(), "test").issuer.values()
    assert (issuer.url, issuer.algorithms) == ("https://idp.example", ("RS256", "ES256"))


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"url": '"http://idp.example"'}, "issuer.grid.url"),
        ({"url": '"https://idp.example#x"'}, "issuer.grid.url"),
        ({"url": '"https://idp.example?x"'}, "issuer.grid.url"),
        ({"url": '"https://a:b@idp.example"'}, "issuer.grid.url"),
        ({"url": '"https://[x"'}, "issuer.grid.url"),
        ({"url": ""}, "issuer.grid.url"),
        ({"audience": '""'}, "a token for any other service would do"),
        ({"algorithms": '["HS256"]'}, "'HS256' is not one of"),
        ({"algorithms": '["none"]'}, "'none' is not one of"),
        ({"algorithms": "[]"}, "issuer.grid.algorithms: is empty"),
        ({"keys_url": ""}, "either keys_url or keys_file"),
        ({"keys_file": '"/etc/keys.json"'}, "either keys_url or keys_file"),
        ({"keys_url": '"http://idp.example/keys"'}, "is not an https URL"),
        ({"keys_url": '"file:///etc/keys"'}, "is not an https URL"),
        ({"refresh": "0"}, "is less than 1"),
        ({"refresh": "nan"}, "is less than 1"),
        ({"maximum_life": "0"}, "is not more than 0"),
    ],
)
def test_a07_an_issuer_that_could_let_in_others_is_refused(keys: dict[str, str], complaint: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(table(**keys), "test")
    assert complaint in caught.value.message


def test_two_tables_are_two_issuers() -> None:
    with pytest.raises(InvalidError, match=r"is the url of \[issuer.grid\], too"):
        parse(table() + table("other"), "test")


TLS = '[listen.client]\ncertificate = "/c.pem"\nprivate_key = "/k.pem"\nca_directory = "/ca"\n'
SECOND = '"https://other.example"'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (TLS + 'mapfile = "/m"\n' + table(), "is needed, for groups come from mapfile, too: say 'grid:'"),
        (TLS + 'voms_directory = "/v"\n' + table(), "groups come from voms_directory, too"),
        (table() + table("b", url=SECOND, group_prefix='"b:"'), r"groups come from \[issuer.b\], too"),
        (TLS + 'voms_directory = "/v"\n' + table(group_prefix='"/vo"'), "as the attributes of VOMS servers do"),
        (table(group_prefix='"a:"') + table("b", url=SECOND, group_prefix='"a:b:"'), r"begins that of \[issuer.b\]"),
    ],
)
def test_no_issuer_can_name_the_groups_of_others_by_oversight(text: str, complaint: str) -> None:
    with pytest.raises(InvalidError, match=complaint):
        parse(text, "test")


def test_a_site_may_let_an_issuer_name_any_group() -> None:
    assert parse(table(), "test").issuer["grid"].group_prefix is None  # alone, it can meet no other
    assert parse(TLS + 'mapfile = "/m"\n' + table(group_prefix='""'), "test").issuer["grid"].group_prefix == ""
    assert parse(table(group_prefix='"a:"') + table("b", url=SECOND, group_prefix='"b:"'), "test").issuer


def test_tokens_let_a_listener_with_tls_leave_loopback() -> None:
    exposed = '[listen.client]\naddress = "0.0.0.0"\n'
    with pytest.raises(InvalidError, match="not loopback"):
        parse(exposed + table(), "test")
    secured = exposed + 'certificate = "/c.pem"\nprivate_key = "/k.pem"\n'
    assert parse(secured + table(), "test").issuer
    with pytest.raises(InvalidError, match="not loopback"):
        parse(secured, "test")


def test_signatures_need_authorities_and_a_known_word() -> None:
    tls = '[listen.client]\ncertificate = "/c.pem"\nprivate_key = "/k.pem"\n'
    with pytest.raises(InvalidError, match="ca_directory only"):
        parse(tls + 'signatures = "alone"', "test")
    with pytest.raises(InvalidError, match="is not off or beside or alone"):
        parse(tls + 'ca_directory = "/ca"\nsignatures = "yes"', "test")
    assert parse(tls + 'ca_directory = "/ca"\nsignatures = "alone"', "test").listen.client.signatures == "alone"
