"""Which consumers a policy lets its members name."""

import pytest

from flyinglow.access.consumers import fault, may_name
from flyinglow.access.decision import Allow, Deny
from flyinglow.access.policy import NOTHING, Policy

SITE = Policy(names=("atlas",), consumers=("10.1.0.0/16", "fd00::/8", "192.0.2.7", "*.atlas.example", "Portal.example"))


@pytest.mark.parametrize(
    "host",
    ["10.1.2.3", "fd00::1", "fd00:0:0:0::1", "192.0.2.7", "a.atlas.example", "b.a.ATLAS.example.", "portal.example"],
)
def test_what_it_names_is_allowed(host: str) -> None:
    assert may_name(SITE, host) == Allow()


@pytest.mark.parametrize(
    "host",
    [
        "10.2.0.1", "::ffff:10.1.2.3", "fe80::1", "atlas.example", "a.atlas.example.evil.example", "xatlas.example",
        "10.1.2.3.evil.example", "0x0a010203", "167838211", "10.1", "", "portal.example.evil",
    ],
)  # fmt: skip
def test_a09_nothing_that_only_looks_like_it_is(host: str) -> None:
    verdict = may_name(SITE, host)
    assert isinstance(verdict, Deny)
    assert f"the policy atlas does not allow the consumer host {host!r} (it allows: 10.1.0.0/16, fd" in verdict.reason


def test_a09_a_name_is_not_allowed_for_the_network_it_leads_to_today() -> None:
    only = Policy(names=("lan",), consumers=("127.0.0.0/8",))
    said = may_name(only, "localhost")
    assert isinstance(said, Deny)
    assert said.reason.endswith("(it allows: 127.0.0.0/8; networks are for numeric addresses)")


def test_who_has_no_policy_or_one_without_a_word_of_it_may_name_what_the_site_allows() -> None:
    assert may_name(None, "a.example") == may_name(Policy(), "a.example") == may_name(NOTHING, "a.example") == Allow()
    assert may_name(Policy(consumers=("*", "0.0.0.0/0", "::/0")), "any.example") == Allow()


def test_an_empty_list_allows_none_and_of_two_policies_either_may_allow() -> None:
    none = Policy(names=("closed",), consumers=())
    said = may_name(none, "a.example")
    assert isinstance(said, Deny)
    assert "policy closed" in said.reason
    assert "it allows: none" in said.reason
    assert may_name(none.joined(SITE), "portal.example") == Allow()
    both = may_name(none.joined(SITE), "other.example")
    assert isinstance(both, Deny)
    assert "the policy closed and atlas" in both.reason


@pytest.mark.parametrize("entry", ["10.1.0.0/16", "10.1.0.7", "::/0", "*", "*.a.example", "h-1.example", "node_?"])
def test_entries_that_can_be(entry: str) -> None:
    assert fault(entry) is None


@pytest.mark.parametrize(
    "entry", ["", "10.1.0.1/16", "10.1.*", "10.1", "http://h.example/", "h.example:80", "a b", "[ab]"]
)
def test_entries_that_cannot_be(entry: str) -> None:
    assert "neither a network" in (fault(entry) or "")
