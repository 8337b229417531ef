"""What ``flyinglow doctor`` finds at sites that are sound, at work, and broken in one place each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flyinglow.server.doctor.finding import Finding
from flyinglow.server.doctor.site import examine
from rigs.daemon import Daemon
from rigs.ports import free_port


@pytest.fixture
def daemon_store() -> str:
    """One database is enough here."""
    return ""


def wrong(path: Path) -> dict[str, Finding]:
    """Return what is not as it should be."""
    return {finding.name: finding for finding in examine(path) if not finding.ok}


def edit(daemon: Daemon, old: str, new: str) -> None:
    """Change the configuration."""
    text = daemon.config.read_text()
    assert old in text
    daemon.config.write_text(text.replace(old, new))


def test_a_running_site_is_sound(daemon: Daemon) -> None:
    found = examine(daemon.config)
    assert [finding for finding in found if not finding.ok] == []
    assert {"configuration", "store", "listener client", "back-end", "image guest", "node n1"} <= {
        f.name for f in found
    }


def test_a_site_that_is_not_running_is_sound_too(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(start=False)
    assert wrong(daemon.config) == {}


@pytest.mark.parametrize(
    ("old", "new", "name", "said"),
    [
        ("[listen.node]", "[listen.nodes]", "configuration", "listen.nodes: unknown key"),
        ('user = "nobody"', 'user = "no-such-user"', "user", "no-such-user"),
        ("n1/flyinglow-nodectl", "n1/elsewhere", "node n1", "elsewhere"),
        ("[notification]", "[backend]\nkind = 'cloud'\n[notification]", "configuration", "cloud"),
        ("image.json", "none.json", "images", "none.json"),
    ],
)
def test_one_fault_is_found_and_its_mend_is_named(
    daemon_factory: Callable[..., Daemon], old: str, new: str, name: str, said: str
) -> None:
    daemon = daemon_factory(start=False)
    edit(daemon, old, new)
    found = wrong(daemon.config)
    assert list(found) == [name]
    assert said in found[name].detail
    assert found[name].fix


def test_an_image_that_changed_is_found(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(start=False)
    edit(daemon, "[image.guest]", f'[image.guest]\nsha256 = "{"0" * 64}"')
    assert list(wrong(daemon.config)) == ["image guest"]


def test_a_taken_port_is_found(daemon_factory: Callable[..., Daemon]) -> None:
    busy, daemon = daemon_factory(), daemon_factory(start=False)
    edit(daemon, f"port = {daemon.port}", f"port = {busy.port}")
    assert list(wrong(daemon.config)) == ["listener client"]


def test_a_database_that_does_not_answer_is_found(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(start=False, store="postgresql+psycopg://nobody@127.0.0.1:1/none")
    assert list(wrong(daemon.config)) == ["store"]


def test_an_empty_site_is_told_what_it_lacks(tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    ports = "".join(f"[listen.{name}]\nport = {free_port()}\n" for name in ("client", "node", "guest"))
    config.write_text(f'[server]\nstate_dir = "{tmp_path}/state"\nuser = "nobody"\n{ports}')
    assert set(wrong(config)) == {"images", "nodes", "networks"}


def test_whoever_has_no_account_is_named_by_number(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 4_000_321)
    assert any("user 4000321, who has no account" in finding.detail for finding in examine(daemon.config))


def test_an_agent_gets_no_more_of_the_environment_than_from_the_service(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    agent = tmp_path / "agent"
    agent.write_text('#!/bin/sh\n[ -n "$CANARY" ] && echo \'"hello"\'\n')
    agent.chmod(0o755)
    monkeypatch.setenv("CANARY", "sings")
    edit(daemon, str(daemon.agent("n1")), str(agent))
    assert "node n1" in wrong(daemon.config)


def test_an_agent_may_lie_in_the_path_of_who_runs_the_doctor(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    agent = tmp_path / "agent-in-path"
    agent.write_text("#!/bin/sh\necho '\"hello\"'\n")
    agent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    edit(daemon, str(daemon.agent("n1")), agent.name)
    assert "node n1" not in wrong(daemon.config)
