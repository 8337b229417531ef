"""Roles, policies, rates and the audit log in the configuration."""

import pytest

from flyinglow.access.identity import Identity
from flyinglow.access.policy import OPEN, Period, Policy
from flyinglow.nodectl.errors import InvalidError
from flyinglow.server.configuration.access import policies, roles
from flyinglow.server.configuration.file import parse

TEXT = """
[access]
administrators = ["/O=Grid/CN=Root", "group:ops"]
observers = ["https://idp.example#auditor"]
default_policy = "guests"
[policy.atlas]
groups = ["atlas"]
identities = ["CN=Alice, O=Grid"]
running = 4
period = "day"
[policy.guests]
running = 1
images = ["debian*"]
"""


def test_names_are_compared_as_callers_have_them() -> None:
    book = roles(parse(TEXT, "x").access)
    assert book.known(Identity("CN=Root,O=Grid")).admin
    assert book.known(Identity("x", groups=frozenset({"ops"}))).admin
    assert book.known(Identity("https://idp.example#auditor")).observer
    assert not book.known(Identity("group:ops")).admin


def test_policies_are_found_by_group_and_by_name() -> None:
    config = parse(TEXT, "x")
    book = policies(config.access, config.policy)
    atlas = Policy(names=("atlas",), running=4, period=Period.DAY)
    assert book.of(Identity("CN=Alice,O=Grid")) == atlas
    assert book.of(Identity("x", groups=frozenset({"atlas"}))) == atlas
    assert book.of(Identity("eve")) == Policy(names=("guests",), running=1, images=("debian*",))
    empty = parse("", "x")
    assert policies(empty.access, empty.policy) == OPEN


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[access]\ndefault_policy = "x"', "x:2: access.default_policy: there is no [policy.x]"),
        ('[access]\nadministrators = ["/CN"]', "x:2: access.administrators: "),
        ('[access]\nobservers = [""]', "x:2: access.observers: an empty name is nobody's"),
        ("[access]\nadmins = []", "x:2: access.admins: unknown key"),
        ("[policy.a]\nrunning = -1", "x:2: policy.a.running: is less than 0"),
        ("[policy.a]\nrunning = true", "x:2: policy.a.running: True is not a whole number"),
        ('[policy.a]\nperiod = "week"', "x:2: policy.a.period: 'week' is not day or month"),
        ('[policy.a]\nnetworks = ["n*", "m"]', "x:2: policy.a.networks: there is no [network.m]"),
        ("[rates]\nper_identity = -1.0", "x:2: rates.per_identity: is less than 0"),
        ("[rates]\nper_address = nan", "x:2: rates.per_address: is less than 0"),
        ("[rates]\nwaiting = 0", "x:2: rates.waiting: is less than 1"),
        ('[audit]\nsync = "often"', "x:2: audit.sync: 'often' is not one of always, second, never"),
        ('[audit]\nfile = "audit.log"', "x:2: audit.file: 'audit.log' is not an absolute path"),
    ],
)
def test_what_cannot_be_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(text, "x")
    assert said in caught.value.message


def test_the_consumers_of_a_policy_are_names_and_networks() -> None:
    good = parse('[policy.x]\nconsumers = ["10.1.0.0/16", "*.x.example"]', "x")
    assert policies(good.access, good.policy).named(["x"]).consumers == ("10.1.0.0/16", "*.x.example")
    with pytest.raises(InvalidError, match=r"x:2: policy.x.consumers: '10.1.\*' is neither a network"):
        parse('[policy.x]\nconsumers = ["10.1.*"]', "x")
