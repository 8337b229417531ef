"""The daemon as a process: privileges, listeners, a second one, a clean stop, and its end by ``kill -9``."""

from __future__ import annotations

import http.client
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flyinglow.client import Consumer, Disk, Nic, Part, connect
from rigs.daemon import Daemon, one_store
from rigs.grid import Grid
from rigs.ports import free_port
from rigs.postgres import end_holders
from rigs.unprivileged import USER
from rigs.waiting import eventually

PART = Part(name="wn", count=2, memory_mb=64, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))
RIGHT_AGAIN_SECONDS = 60.0  # a second or two on a machine that has nothing else to do


@one_store
def test_root_is_given_away_at_once(daemon: Daemon) -> None:
    if os.geteuid() != 0:
        pytest.skip("only a service that is started as root has root to give away")
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    uids = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
    groups = next(line.split()[1:] for line in status.splitlines() if line.startswith("Groups:"))
    assert "0" not in uids
    assert "0" not in groups
    assert Path(daemon.state).owner() == USER


@one_store
def test_the_admin_socket_is_for_its_owner_only(daemon: Daemon) -> None:
    mode = (daemon.state / "admin.sock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


@one_store
@pytest.mark.parametrize("mode", [0o644, 0o602])
def test_it_does_not_serve_with_a_key_that_everyone_can_read_or_write(
    daemon_factory: Callable[..., Daemon], tmp_path_factory: pytest.TempPathFactory, mode: int
) -> None:
    root = tmp_path_factory.mktemp("fl")
    grid = Grid(root)
    daemon = daemon_factory(start=False, root=root, client=grid.keys)
    (key := grid.host[1]).chmod(mode)
    daemon.start(wait=False)
    assert daemon.wait_for_death() != 0
    assert f"private_key: everyone can read or write {key}; chmod 0600 it" in daemon.tail()
    assert not (daemon.state / "admin.sock").exists()


def test_a_second_daemon_on_the_same_store_refuses_to_start(daemon_factory: Callable[..., Daemon]) -> None:
    first = daemon_factory()
    second = daemon_factory(start=False, root=first.root)
    second.start(wait=False)
    assert second.wait_for_death() != 0
    assert str(first.pid) in second.tail()
    first.admin("status")


@one_store
def test_a_port_that_is_taken_is_named(daemon_factory: Callable[..., Daemon]) -> None:
    first = daemon_factory()
    second = daemon_factory(start=False)
    second.config.write_text(second.config.read_text().replace(f"port = {second.port}", f"port = {first.port}"))
    second.start(wait=False)
    assert second.wait_for_death() != 0
    assert f"127.0.0.1 port {first.port}" in second.tail()


@one_store
def test_it_stops_cleanly_and_starts_again(daemon: Daemon) -> None:
    lease = connect(daemon.url).create([PART], name="wn")
    lease.whole.wait("Running", timeout=120)
    daemon.stop()
    assert not (daemon.state / "admin.sock").exists()
    assert [vm["status"] for vm in daemon.nodectl("n1", "list")["vms"]] == ["running", "running"]
    daemon.start()
    assert lease.whole.properties().state == "Running"


def test_kill_minus_9_leaves_vms_running_and_the_next_start_is_right_within_seconds(
    daemon: Daemon,
) -> None:
    lease = connect(daemon.url).create([PART], name="wn")
    lease.whole.wait("Running", timeout=120)
    daemon.kill()
    tag = daemon.nodectl("n1", "list")["vms"][0]["tag"]
    daemon.nodectl("n1", "destroy", tag)  # what happens on a node while nobody serves must be seen afterwards
    began = time.monotonic()
    daemon.start()
    lease.whole.wait("Corrupted", timeout=RIGHT_AGAIN_SECONDS)
    assert time.monotonic() - began < RIGHT_AGAIN_SECONDS
    states = sorted(member.state for member in lease.whole.properties().members)
    assert states == ["Corrupted", "Running"]
    assert len(daemon.nodectl("n1", "list")["vms"]) == 1


def test_a_destroy_that_a_kill_cut_short_is_finished_by_the_next_start(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(nodectl={"simulated": {"delays": {"destroy": 4.0}}})
    with Consumer() as consumer:
        lease = connect(daemon.url).create([PART], name="wn")
        lease.whole.wait("Running", timeout=120)
        consumer.watch(lease.whole)
        lease.whole.destroy()
    daemon.kill()
    settings = daemon.root / "n1" / "nodectl.json"
    settings.write_text(settings.read_text().replace("4.0", "0.0"))
    daemon.start()
    eventually(lambda: daemon.admin("workspace.list") == [])
    assert daemon.nodectl("n1", "list")["vms"] == []
    assert all(node["free"]["memory_mb"] == node["memory_mb"] for node in daemon.admin("node.list"))


@one_store
def test_pilots_and_guests_are_not_offered_what_clients_are(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(start=False)
    ports = [_free(daemon, "node"), daemon.guest_port]
    daemon.start()
    for port in ports:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("POST", "/factory", body=b"<x/>")
        assert connection.getresponse().status == 404
        connection.close()


def _free(daemon: Daemon, section: str) -> int:
    port = free_port()
    text = daemon.config.read_text().replace(f"[listen.{section}]\nport = 0", f"[listen.{section}]\nport = {port}")
    daemon.config.write_text(text)
    return port


@one_store
def test_a_service_that_lost_its_store_stops(daemon_factory: Callable[..., Daemon], postgres_url: str) -> None:
    first = daemon_factory(store=postgres_url)
    end_holders(postgres_url)
    assert first.wait_for_death() != 0
    assert "the store's lock was lost" in first.tail()
    first.start()
    first.admin("status")


@one_store
def test_a26_a_clock_that_is_set_back_stops_no_timer(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(start=False)
    back = daemon.root / "back"
    daemon.start(script="serve_set_back.py", arguments=(str(back),))
    connect(daemon.url).create([PART], name="wn", duration=5).whole.wait("Running", timeout=120)
    back.touch()
    eventually(lambda: daemon.admin("workspace.list") == [], 120)
    assert daemon.nodectl("n1", "list")["vms"] == []
