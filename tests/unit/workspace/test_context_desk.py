"""The context endpoint behind its socket: who is heard, what is believed, what the others are told and when."""

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from flyinglow.access.identity import LOCAL
from flyinglow.backend.abilities import Reply
from flyinglow.workspace.context_desk import LONGEST, Desk
from flyinglow.workspace.context_endpoint import TOKEN, Endpoint, hash_of
from flyinglow.workspace.model import Context, Stamp
from flyinglow.workspace.terms import Terms
from rigs.site import MakeSite, Site, key_of, part, whole

ENDPOINT = Endpoint(url="http://10.1.0.1:8482", key=b"k" * 32)
OK = b'{"status": "ok"}'


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """Give a site whose guests can report."""
    return make_site(endpoint=ENDPOINT, terms=Terms(reports=True))


@pytest.fixture
def desk(site: Site) -> Desk:
    """Give its context endpoint."""
    return Desk(site.store, site.clock, site.now, site.committed.append)


def cluster(site: Site) -> Any:
    """Run a storage element and a worker that needs it."""
    created = site.create(
        part("se", context=Context(provides=("storage-element",))),
        part("wn", context=Context(requires=("storage-element",))),
    )
    site.settle()
    return created


def token(site: Site, name: str) -> str:
    return ENDPOINT.token(site.row(name).id)


def begun(work: Any) -> list[Any]:
    """Begin a coroutine; the list has its result once there is one."""
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    return results


def test_guests_are_told_where_and_as_whom_they_report(site: Site) -> None:
    cluster(site)
    spec = site.simulation.spec(site.row("wn").tag)
    lines = spec.context.splitlines()
    assert "endpoint http://10.1.0.1:8482" in lines
    assert f"token {token(site, 'wn')}" in lines
    assert TOKEN.match(token(site, "wn"))
    assert token(site, "wn") != token(site, "se")
    other = site.simulation.spec(site.row("se").tag).context
    assert token(site, "wn") not in other


def test_a_site_without_an_endpoint_tells_of_none(make_site: MakeSite) -> None:
    site = make_site()
    site.create(part("ce"))
    site.settle()
    words = {line.split()[0] for line in site.simulation.spec(site.row("ce").tag).context.splitlines()}
    assert not words & {"endpoint", "token"}


def test_the_store_has_no_token(site: Site) -> None:
    cluster(site)
    secret = token(site, "wn")
    with site.store._database.reading.connect() as connection:
        dump = "\n".join(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    assert secret not in dump
    assert hash_of(secret) in dump


def test_values_of_one_reach_the_others(site: Site, desk: Desk) -> None:
    cluster(site)
    key = "ssh-ed25519 AAAAC3Nza root@se"
    body = json.dumps({"status": "ok", "message": "up", "values": {"ssh-host-key": key, "port": "2049"}}).encode()
    assert site.run(desk.report(token(site, "se"), body)) == Reply(200, b"written down\n")
    lines = site.run(desk.members(token(site, "wn"), 0)).body.decode().splitlines()
    assert f"value se ssh-host-key {key}" in lines
    assert "value se port 2049" in lines
    assert [line.split()[:3] for line in lines if line.startswith("member ")] == [
        ["member", "se", "storage-element"],
        ["member", "wn", "-"],
    ]
    assert not [line for line in lines if line.startswith("missing")]
    report = site.workspace.guest(LOCAL, site.row("se").id)
    assert report is not None
    assert (report.status, report.message, report.values["port"]) == ("ok", "up", "2049")
    assert Stamp.READY in site.row("se").stamps


def test_whoever_waits_is_answered_when_the_last_has_reported(site: Site, desk: Desk) -> None:
    cluster(site)
    answer = begun(desk.members(token(site, "wn"), 30))
    site.settle(10)
    assert answer == []
    site.run(desk.report(token(site, "wn"), OK))
    assert answer == [], "its own report is not what it waits for"
    site.run(desk.report(token(site, "se"), OK))
    assert answer[0].status == 200
    assert b"missing" not in answer[0].body
    assert not site.clock.getDelayedCalls()


def test_who_waits_is_answered_at_the_latest_when_time_is_up(site: Site, desk: Desk) -> None:
    cluster(site)
    answer = begun(desk.members(token(site, "wn"), 1e9))
    site.settle(LONGEST - 1)
    assert answer == []
    site.settle(1)
    assert b"missing se\n" in answer[0].body


def test_who_waits_is_let_go_when_the_service_stops(site: Site, desk: Desk) -> None:
    cluster(site)
    answer = begun(desk.members(token(site, "wn"), 30))
    desk.close()
    assert answer[0].status == 200


def test_nobody_waits_for_a_member_that_is_gone(site: Site, desk: Desk) -> None:
    created = cluster(site)
    site.workspace.destroy(LOCAL, key_of(created, "se").id)
    site.settle()
    assert site.run(desk.members(token(site, "wn"), 30)).status == 200


def test_other_launch_sets_are_not_told_of(site: Site, desk: Desk) -> None:
    cluster(site)
    site.create(part("alien"))
    site.settle()
    body = json.dumps({"status": "ok", "values": {"secret": "x"}}).encode()
    site.run(desk.report(token(site, "alien"), body))
    assert b"alien" not in site.run(desk.members(token(site, "wn"), 0)).body


def test_unknown_foreign_and_outlived_tokens_look_alike(site: Site, desk: Desk) -> None:
    created = site.create(part("ce"))
    site.settle()
    secret = token(site, "ce")
    assert site.run(desk.report(secret, OK)).status == 200
    site.workspace.destroy(LOCAL, whole(created).id)
    unborn = Endpoint(url="", key=b"x" * 32).token(site.row("ce").id)
    answers = [site.run(desk.report(each, OK)) for each in (secret, unborn, "0" * 32)]
    answers += [site.run(desk.members(each, 30)) for each in (secret, unborn, "0" * 32)]
    assert len(set(answers)) == 1
    assert answers[0].status == 401


BAD_REPORTS = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"nonsense",
    b"[" * 60000,
    b'{"status": "fine"}',
    b'{"status": ["ok"]}',
    b'{"status": "ok", "message": 5}',
    b'{"status": "ok", "extra": 1}',
    b'{"status": "ok", "values": []}',
    b'{"status": "ok", "values": {"a b": "x"}}',
    b'{"status": "ok", "values": {"../x": "x"}}',
    b'{"status": "ok", "values": {"a": ""}}',
    b'{"status": "ok", "values": {"a": 5}}',
    b'{"status": "ok", "values": {"a": "two\\nlines"}}',
    b'{"status": "ok", "values": {"a": "\\ud800"}}',
    b'{"status": "ok", "values": {"a": "\\u0000"}}',
    json.dumps({"status": "ok", "values": {"a": "x" * 4097}}).encode(),
    json.dumps({"status": "ok", "values": {f"n{at}": "x" for at in range(65)}}).encode(),
    json.dumps({"status": "ok", "values": {"n" * 65: "x"}}).encode(),
]


def test_reports_that_are_none_are_refused_and_change_nothing(site: Site, desk: Desk) -> None:
    site.create(part("ce"))
    site.settle()
    for body in BAD_REPORTS:
        assert site.run(desk.report(token(site, "ce"), body)).status == 400, body[:80]
    assert site.workspace.guest(LOCAL, site.row("ce").id) is None


def test_a_long_or_wild_message_is_tamed(site: Site, desk: Desk) -> None:
    site.create(part("ce"))
    site.settle()
    body = json.dumps({"status": "error", "message": "\x1b[31mred\x00\ud800" + "y" * 5000}).encode()
    assert site.run(desk.report(token(site, "ce"), body)).status == 200
    report = site.workspace.guest(LOCAL, site.row("ce").id)
    assert report is not None
    assert report.message.startswith("\\x1b[31mred\\x00\\ud800y")
    assert len(report.message) == 1000


def test_a_launch_that_is_sent_again_says_the_same(make_site: MakeSite) -> None:
    """A node refuses another specification for a VM that it has begun."""
    site = make_site(endpoint=ENDPOINT, terms=Terms(reports=True), options={"delays": {"create": 5.0}})
    site.create(part("ce"))
    site.settle(1)
    site.reboot()
    site.settle(20)
    assert site.states() == {"ce": "Running"}
    sent = [order.body["context"] for _, order in site.simulation.log if order.name == "create"]
    assert len(sent) == 2
    assert sent[0] == sent[1]
