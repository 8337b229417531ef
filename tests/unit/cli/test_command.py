"""The command against a site that is played by plain values."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from flyinglow.cli.__main__ import COMMANDS, app, run
from flyinglow.cli.exits import TABLE, Exit, UnconfirmedError, advice
from flyinglow.cli.session import Session
from flyinglow.client import Entry, Epr, Estimate, Lease, LeaseFailed, Offers, Part, Properties, Resource, Result, Valid
from flyinglow.client.access import Limit, Quota
from flyinglow.client.values import FreeNow
from flyinglow.client.wire import LostError
from flyinglow.nodectl.errors import KINDS, ExhaustedError, UnknownError
from flyinglow.server.configuration.file import load

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class FakeResource(Resource):
    """A resource with a state of its own."""

    def __init__(self, name: str, kind: str = "workspace", state: str = "Running", number: int = 1) -> None:
        super().__init__(None, Epr(f"http://there/{kind}/{number:032x}"[:-1] + name[-1]), name)  # type: ignore[arg-type]
        self.state, self.done_to, self.results = state, [], []  # type: ignore[var-annotated]
        self.error: BaseException | None = None

    def properties(self) -> Properties:
        if isinstance(self.error, UnknownError):
            raise self.error
        return Properties(kind=self.kind, name=self.name, state=self.state, ends_at=NOON, current_time=NOON)

    def wait(self, *states: str, timeout: float | None = None, on_change: Any = None, pause: Any = None) -> Properties:
        self.done_to.append(("wait", states, timeout))
        if self.error is not None:
            raise self.error
        on_change(self.properties())
        return self.properties()

    def shutdown(self, mode: str = "Normal", save_to: str | None = None) -> list[Result]:
        self.done_to.append(("shutdown", mode))
        return self.results

    def destroy(self) -> None:
        self.done_to.append(("destroy",))


class FakeSite:
    """A site with resources; remembers what was asked for."""

    url = "http://there"

    def __init__(self, *resources: FakeResource) -> None:
        self.resources = resources
        self.asked: dict[str, Any] = {}
        self.error: BaseException | None = None
        self.waits, self.outlook = "", Estimate()
        self.limits: Quota | None = None
        self.offered: Offers | None = None

    def create(self, parts: Sequence[Part], *, name: str, **options: Any) -> Lease:
        self.asked = {"parts": parts, "name": name, **options}
        if self.error is not None:
            raise self.error
        whole = self.resources[0]
        return Lease(whole=whole, resources={whole.name: whole}, ends_at=NOON)

    def quota(self) -> Quota | None:
        return self.limits

    def pull_point(self) -> Any:
        raise AssertionError("no command of these tests fetches")

    def subscription(self, url: str) -> Any:
        raise AssertionError("no command of these tests looks at a subscription")

    def validate(self, parts: Sequence[Part], **asked: Any) -> Valid:
        self.asked = {"parts": parts, **asked}
        return Valid(workspaces=2, duration=5400, waits=self.waits)

    def estimate(self, parts: Sequence[Part], **asked: Any) -> Estimate:
        self.asked = {"parts": parts, **asked}
        return self.outlook

    def list(self, kind: str | None = None, state: str | None = None, *, everybody: bool = False) -> Iterator[Entry]:
        owner = "CN=Bob,O=Grid" if everybody else None
        for each in self.resources:
            yield Entry(name=each.name, kind=each.kind, resource=each, state=each.state, ends_at=NOON, owner=owner)

    def resource(self, reference: Any) -> Resource:
        return next(each for each in self.resources if each.url == reference)

    def offers(self) -> Offers:
        assert self.offered is not None, "nobody asks"
        return self.offered


@pytest.fixture(autouse=True)
def _no_subscriptions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("flyinglow.cli.progress._subscribe", lambda resource, stack: None)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def do(site: FakeSite, *arguments: str) -> int:
    return run(arguments, Session(connect=lambda chosen: site))


CREATE = ("create", "--image", "guest", "--memory", "96", "--name", "vm")


def test_create_prints_the_id_first_and_then_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    site = FakeSite(FakeResource("vm"))
    more = ("--count", "2", "--network", "private", "--network", "public", "--duration", "1h")
    assert do(site, *CREATE, *more) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert site.resources[0].id in lines[0]
    assert "vm Running" in lines[1]
    (part,) = site.asked["parts"]
    assert (part.count, part.memory_mb, [nic.network for nic in part.nics]) == (2, 96, ["private", "public"])
    assert site.asked["duration"] == 3600
    assert len(site.asked["token"]) == 32


def test_ctrl_c_detaches_and_never_destroys(capsys: pytest.CaptureFixture[str]) -> None:
    resource = FakeResource("vm")
    resource.error = KeyboardInterrupt()
    assert do(FakeSite(resource), *CREATE) == Exit.DETACHED
    said = capsys.readouterr().err
    assert f"flyinglow wait {resource.id}" in said
    assert [act[0] for act in resource.done_to] == ["wait"]


@pytest.mark.parametrize("waits", ["", "the scheduler says Resources"])
def test_a_dry_run_says_what_would_be_and_leases_nothing(waits: str, capsys: pytest.CaptureFixture[str]) -> None:
    site = FakeSite()
    site.waits = waits
    assert do(site, *CREATE, "--count", "2", "--preemptable", "--ready-barrier", "5m", "--dry-run") == Exit.OK
    ends = f"it would wait: {waits}" if waits else "it would start at once"
    assert capsys.readouterr().out == f"It would be granted: 2 workspaces for 1h30m; {ends}.\n"
    assert (site.asked["name"], site.asked["preemptable"], "token" in site.asked) == ("vm", True, False)
    assert site.asked["ready_barrier"] == 300
    assert do(site, *CREATE, "--dry-run", "--token", "t", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out) == {"workspaces": 2, "duration": 5400, "waits": waits}
    assert (site.asked["token"], "preemptable" in site.asked) == ("t", False)


@pytest.mark.parametrize(
    ("outlook", "said"),
    [
        (Estimate(reason="no room"), "Nobody can say when it would start: no room."),
        (Estimate(starts_in=0, starts_at=NOON), "It would start at once."),
        (Estimate(starts_in=60, starts_at=NOON, reason="Priority"), "It would start 2030-01-01"),
    ],
)
def test_an_estimate_in_words(outlook: Estimate, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "request.toml"
    file.write_text('name = "x"\npreemptable = true\nready_barrier = "2m"\n[[parts]]\nname = "a"\nmemory_mb = "1G"\n')
    site = FakeSite()
    site.outlook = outlook
    assert do(site, "estimate", str(file)) == Exit.OK
    out = capsys.readouterr().out
    assert out.startswith(said)
    assert outlook.reason in out
    assert (site.asked["name"], site.asked["preemptable"], site.asked["parts"][0].memory_mb) == ("x", True, 1024)
    assert site.asked["ready_barrier"] == 120
    assert do(site, "estimate", str(file), "--file", str(file)) == Exit.INVALID
    assert "once" in capsys.readouterr().err
    file.write_text('name = "x"\npreemptable = "yes"')
    assert do(site, "estimate", str(file)) == Exit.INVALID
    assert "true or false" in capsys.readouterr().err


def test_the_receipt_is_in_order_and_in_milliseconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = FakeResource("vm", state="Cancelled")
    after = {
        "ready": 9000,
        "accepted": 0,
        "queued": 1,
        "adapted": 4000,
        "scheduled": 2500,
        "launched": 3250,
        "odd": 9500,
    }
    timing = {stamp: NOON + timedelta(milliseconds=ms) for stamp, ms in after.items()}
    found = dataclasses.replace(resource.properties(), timing=timing)
    monkeypatch.setattr(resource, "properties", lambda: found)
    assert do(FakeSite(resource), "show", "vm", "--timing", "--json") == Exit.OK
    told = json.loads(capsys.readouterr().out)
    order = ["accepted", "queued", "scheduled", "launched", "adapted", "ready", "odd"]
    assert list(told["receipt"]["vm"]) == order
    assert told["receipt"]["vm"]["launched"] == "2030-01-01T12:00:03.250000Z"
    counted = told["milliseconds"]["vm"]
    assert counted["since_accepted"] == {stamp: after[stamp] for stamp in order}
    assert list(counted["since_before"].values()) == [1, 2499, 750, 750, 5000, 500]
    assert do(FakeSite(resource), "show", "vm", "--timing") == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "2499" in line).split()[-6:] == ["1", "2499", "750", "750", "5000", "500"]


def test_ctrl_c_before_the_answer_tells_the_token(capsys: pytest.CaptureFixture[str]) -> None:
    site = FakeSite(FakeResource("vm"))
    site.error = KeyboardInterrupt()
    assert do(site, *CREATE, "--token", "t7") == Exit.DETACHED
    assert "--token t7" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("as_json", [False, True])
def test_every_error_has_its_code_side_and_next_step(
    kind: str, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    site = FakeSite(FakeResource("vm"))
    error = KINDS[kind]("it failed", {"a": 1})
    error.incident = "i7"
    site.error = error
    assert do(site, *CREATE, "--token", "t", *(["--json"] if as_json else [])) == TABLE[kind].code
    captured = capsys.readouterr()
    assert captured.out == ""
    if as_json:
        told = json.loads(captured.err)["error"]
        assert (told["kind"], told["incident"], told["figures"]) == (kind, "i7", {"a": 1})
        assert told["exit_code"] == TABLE[kind].code
    else:
        for fact in ("it failed", TABLE[kind].side, TABLE[kind].next, "incident: i7", "a 1"):
            assert fact in captured.err
        assert ("a retry may help" in captured.err) == error.retryable


@pytest.mark.parametrize(
    ("error", "code"),
    [(LeaseFailed("vm", "Corrupted", "no disk"), Exit.LEASE_FAILED), (TimeoutError("still"), Exit.TIMED_OUT)],
)
def test_waiting_in_vain(error: Exception, code: Exit, capsys: pytest.CaptureFixture[str]) -> None:
    resource = FakeResource("vm")
    resource.error = error
    assert do(FakeSite(resource), "wait", "vm", "--timeout", "5", "--for", "paused") == code
    assert resource.done_to == [("wait", ("Paused",), 5)]
    assert str(error) in capsys.readouterr().err


def test_a_destroyed_lease_is_not_said_to_go_on() -> None:
    told = advice(UnconfirmedError("first is destroyed, but its nodes did not confirm it"))
    assert told.code == Exit.TIMED_OUT
    assert "lease goes on" not in told.next
    assert "lease goes on" in advice(TimeoutError("still")).next


def test_codes_differ() -> None:
    codes = [each.code for each in TABLE.values()]
    assert len(codes) == len(set(codes)) == len(Exit)
    assert set(KINDS) <= set(TABLE)


def test_names_ids_beginnings_and_urls(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = FakeResource("aa", number=0xABCDE0), FakeResource("bb", "group", number=0xABCDE0)
    site = FakeSite(one, two)
    for word in ("aa", one.id, one.id[:32], one.url):
        assert do(site, "show", word, "--json") == Exit.OK
        assert json.loads(capsys.readouterr().out)["id"] == one.id
    assert do(site, "destroy", one.id[:10]) == Exit.INVALID
    said = capsys.readouterr().err
    assert one.id in said
    assert two.id in said
    assert one.done_to == two.done_to == []
    assert do(site, "show", "nothing") == Exit.UNKNOWN
    assert do(site, "show", "000") == Exit.UNKNOWN  # too short a beginning


def test_the_living_go_before_what_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    over, living = FakeResource("vm", state="Ended", number=0x10), FakeResource("vm", number=0x20)
    assert do(FakeSite(over, living), "show", "vm", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["id"] == living.id


def test_nothing_is_done_when_one_name_is_unknown() -> None:
    resource = FakeResource("vm")
    assert do(FakeSite(resource), "pause", "vm", "nothing") == Exit.UNKNOWN
    assert resource.done_to == []


def test_a_member_that_refuses_gives_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    resource = FakeResource("wn", "group")
    resource.results = [
        Result(name="wn-1", resource=resource),
        Result(name="wn-2", resource=resource, error=ExhaustedError("no room")),
    ]
    assert do(FakeSite(resource), "pause", "wn") == Exit.NOT_NOW
    assert "wn-2: no room" in capsys.readouterr().out


def test_what_a_service_says_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Names, states and reasons are shown with control characters written out, in tables, lines and errors alike."""
    evil = "\x1b[2J\x9b\u202e[red]x"
    resource = FakeResource(evil, state=evil)
    site = FakeSite(resource)
    assert do(site, "list") == Exit.OK
    assert do(site, "show", resource.url) == Exit.OK
    resource.error = LeaseFailed(evil, evil, evil)
    assert do(site, "wait", resource.url) == Exit.LEASE_FAILED
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert not set(text) & {"\x1b", "\x9b", "\u202e"}
        assert "\\x1b[2J\\x9b\\u202e[red]x" in text
    assert do(site, "list", "--json") == Exit.OK
    assert not set(capsys.readouterr().out) & {"\x1b", "\x9b", "\u202e"}


def test_a_list_of_everybodys_has_the_owners(capsys: pytest.CaptureFixture[str]) -> None:
    site = FakeSite(FakeResource("vm"))
    assert do(site, "list", "--all") == Exit.OK
    assert "CN=Bob,O=Grid" in capsys.readouterr().out
    assert do(site, "list") == Exit.OK
    assert "owner" not in capsys.readouterr().out


def test_json_keys_stay(capsys: pytest.CaptureFixture[str]) -> None:
    site = FakeSite(FakeResource("vm"))
    do(site, "list", "--json")
    (row,) = json.loads(capsys.readouterr().out)
    assert set(row) == {"name", "kind", "id", "url", "state", "task", "ends_at", "owner"}
    assert row["ends_at"] == "2030-01-01T12:00:00Z"
    do(site, "--json", "show", "vm")
    assert set(json.loads(capsys.readouterr().out)) == {each.name for each in dataclasses.fields(Properties)} | {
        "id",
        "url",
    }


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["list", "--nonsense"], ["create"], ["create", "--memory", "x"], ["show"]]
)
def test_a_wrong_command_line(arguments: list[str]) -> None:
    assert do(FakeSite(), *arguments) == Exit.INVALID


def test_every_subcommand_has_help_and_is_as_lazy_as_it_says() -> None:
    context = click.Context(app)
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str()
    code = (
        "import sys; from flyinglow.cli.__main__ import run; run(['--help']); "
        "sys.exit(bool({'lxml', 'zeep', 'twisted', 'rich', 'sqlalchemy', 'flyinglow.client'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_the_client_library_loads_zeep_only_when_something_is_sent() -> None:
    code = "import sys, flyinglow.client as c; c.connect('http://h'); sys.exit('zeep' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_init_does_not_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "flyinglow.toml"
    assert run(["init", "--config", str(path)]) == Exit.OK
    written = path.read_text()
    assert "[server]" in written
    assert run(["init", "--config", str(path)]) == Exit.CONFLICT
    assert path.read_text() == written
    assert str(path) in capsys.readouterr().err


def test_init_names_the_next_steps_for_who_is_not_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert run(["init"]) == Exit.OK
    config = load(tmp_path / "flyinglow" / "flyinglow.toml")
    assert config.server.state_dir == tmp_path / "data" / "flyinglow" / "service"
    assert config.node["node1"].networks == {"private": ""}
    image = config.image["guest"].file
    assert image is not None
    said = capsys.readouterr().out
    assert f"flyinglow-nodectl build-guest {image.parent}\n" in said
    assert "flyinglow doctor\n" in said
    assert "flyinglow serve\n" in said


def test_init_of_root_is_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    path = tmp_path / "flyinglow.toml"
    assert run(["init", "--config", str(path)]) == Exit.OK
    assert load(path).server.state_dir == Path("/var/lib/flyinglow")
    said = capsys.readouterr().out
    assert "build-guest /srv/flyinglow/images/guest\n" in said
    assert f"flyinglow serve --config {path}\n" in said


def test_an_ambiguous_name_is_answered_with_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = FakeResource("vm"), FakeResource("vm")
    assert do(FakeSite(one, other), "show", "vm") == Exit.INVALID
    said = capsys.readouterr().err
    assert one.id in said
    assert "next: say which one by its id" in said


def test_who_cannot_reach_the_service_hears_of_its_address(capsys: pytest.CaptureFixture[str]) -> None:
    site = FakeSite(FakeResource("vm"))
    site.error = LostError("the service at http://there cannot be reached: connection refused")
    assert do(site, *CREATE) == Exit.TRANSIENT
    assert "next: try again; does the service run, and is that its address? --service" in capsys.readouterr().err


def test_an_estimate_of_what_options_say(capsys: pytest.CaptureFixture[str]) -> None:
    site = FakeSite()
    site.outlook = Estimate(starts_in=0, starts_at=NOON)
    asked = ("--image", "guest", "--memory", "96", "--count", "3", "--duration", "1h", "--preemptable")
    assert do(site, "estimate", *asked) == Exit.OK
    assert "at once" in capsys.readouterr().out
    (part,) = site.asked["parts"]
    assert (part.count, part.memory_mb, site.asked["duration"], site.asked["preemptable"]) == (3, 96, 3600, True)
    assert do(site, "estimate") == Exit.INVALID
    assert "--image and --memory" in capsys.readouterr().err


@pytest.mark.parametrize(("immediate", "free", "said"), [(True, 0, "0"), (False, 0, "unknown"), (False, 512, "512")])
def test_what_is_free_is_unknown_where_a_scheduler_knows_it(
    immediate: bool, free: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = FakeSite()
    site.offered = Offers(
        maximum_memory_mb=4096,
        maximum_cpus=8,
        maximum_disk_mb=1000,
        maximum_members=4,
        immediate=immediate,
        architectures=("x86_64",),
        vmms=("qemu",),
        default_duration=3600,
        maximum_duration=7200,
        free=FreeNow(memory_mb=free, cpus=1, disk_mb=1, largest_memory_mb=free, largest_cpus=1, largest_disk_mb=1),
        networks=(),
        images=(),
    )
    assert do(site, "offers") == Exit.OK
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "memory MB" in line]
    assert line.split()[-2:] == [said, said]


def test_admin_without_a_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["admin", "status", "--state-dir", str(tmp_path)]) == Exit.BROKEN
    assert run(["admin", "status", "--config", str(tmp_path / "nix.toml")]) == Exit.BROKEN
    assert run(["admin", "node", "add", "n1", "--memory", "1G", "--state-dir", str(tmp_path)]) == Exit.INVALID
    assert "--cpus --disk" in capsys.readouterr().err


def test_a_quota_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    site = FakeSite()
    assert do(site, "quota") == Exit.OK
    assert "Nothing but the site's terms limits" in capsys.readouterr().out
    site.limits = Quota(
        policies=("atlas\x1b[31m",), period="month", limits={"minutes": Limit(limit=600, used=60, reserved=120)}
    )
    assert do(site, "quota") == Exit.OK
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert all(word in said for word in ("minutes", "600", "60", "120", "atlas\\x1b[31m", "a month"))


@pytest.mark.parametrize("arguments", [("share", "vm"), ("unshare", "vm", "--with", "a", "--group", "b")])
def test_a_share_names_one_grantee(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert do(FakeSite(FakeResource("vm")), *arguments) != Exit.OK
    assert "name either an identity (--with) or a --group" in capsys.readouterr().err
