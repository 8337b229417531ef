"""Who may do what: every verb for every role, and what limited proxies and observers lose."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flyinglow.access.decision import GRANTS, VERBS, Allow, Deny, Right, Role, decide
from flyinglow.access.identity import LOCAL, OPERATOR, Identity
from flyinglow.access.roles import Named, RoleBook
from flyinglow.access.shares import Grantee, Level, Share

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
OWNER, EVE = Identity("alice"), Identity("eve")
READS = {"get", "current", "subscribe"}
LIMITED = READS | {"Destroy", "destroy", "Shutdown Trash", "manage subscription"}
CALLERS: dict[str, tuple[Identity, set[str]]] = {
    "owner": (OWNER, set(VERBS)),
    "administrator": (OPERATOR, set(VERBS)),
    "stranger": (EVE, {"create"}),
    "observer": (Identity("eve", observer=True), READS),
    "observer of his own": (Identity("alice", observer=True), READS | {"manage subscription"}),
    "reader": (Identity("bob"), READS | {"create"}),
    "holder": (Identity("carol"), set(VERBS) - {"add", "delegate", "revoke", "manage subscription"}),
    "member of a group": (Identity("dave", groups=frozenset({"atlas"})), READS | {"create"}),
    "owner with a limited proxy": (Identity("alice", limited=True), LIMITED),
    "administrator with a limited proxy": (Identity("root", admin=True, limited=True), LIMITED),
    "holder with a limited proxy": (Identity("carol", limited=True), LIMITED - {"manage subscription"}),
}
SHARES = [
    Share(resource_id="a", grantee=grantee, level=level, granted_by="alice", granted_at=NOON)
    for grantee, level in (
        (Grantee("bob"), Level.READ),
        (Grantee("carol"), Level.FULL),
        (Grantee("atlas", is_group=True), Level.READ),
    )
]


@pytest.mark.parametrize("verb", sorted(VERBS))
@pytest.mark.parametrize("name", sorted(CALLERS))
def test_every_verb_for_every_role(name: str, verb: str) -> None:
    caller, allowed = CALLERS[name]
    assert isinstance(decide(caller, verb, "alice", SHARES), Allow) is (verb in allowed)


def test_whoever_may_change_nothing_may_not_create_either() -> None:
    assert decide(LOCAL, "create") == Allow()
    assert isinstance(decide(Identity("eve", observer=True), "create"), Deny)
    assert isinstance(decide(Identity("alice", limited=True), "create"), Deny)


def test_a_denial_has_its_reason() -> None:
    assert decide(EVE, "destroy", "alice") == Deny("eve may not destroy what belongs to another")
    limited = decide(Identity("alice", limited=True), "set_end", "alice")
    assert isinstance(limited, Deny)
    assert "limited proxy" in limited.reason
    assert decide(Identity("operator"), "destroy", "local") != Allow()


def test_a_group_is_not_an_identity_of_its_name() -> None:
    assert isinstance(decide(Identity("atlas"), "get", "alice", SHARES), Deny)
    assert isinstance(decide(Identity("eve", groups=frozenset({"carol"})), "get", "alice", SHARES), Deny)


def test_a_verb_that_is_not_known_is_for_owners_only() -> None:
    assert decide(OWNER, "fly", "alice") == Allow()
    assert isinstance(decide(Identity("carol"), "fly", "alice", SHARES), Deny)


def test_every_right_is_some_verbs_and_every_role_has_a_row() -> None:
    assert set(VERBS.values()) == set(Right)
    assert set(GRANTS) == set(Role)


def test_every_verb_in_the_services_is_in_the_table() -> None:
    root = Path(__file__).parents[3]
    found = set()
    for folder in ("factory", "workspace", "group", "ensemble", "notification"):
        for path in (root / folder).glob("*.py"):
            found |= set(re.findall(r"(?:decide|find_\w+|_find)\([^()]*?, \"([\w ]+)\"", path.read_text()))
    assert {"create", "get", "join"} <= found
    assert found <= set(VERBS)


def test_the_configuration_makes_administrators_and_observers() -> None:
    book = RoleBook(
        administrators=Named(identities=frozenset({"alice"})), observers=Named(groups=frozenset({"auditors"}))
    )
    assert book.known(OWNER).admin
    assert not book.known(Identity("alice", limited=True)).admin
    assert book.known(Identity("bob", groups=frozenset({"auditors"}))).observer
    assert book.known(EVE) == EVE
