"""The real pilot program against the real intake: HTTP and TLS, orders, restarts, SSH aside, several at once."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from flyinglow.backend.api import Order
from flyinglow.backend.lrm.states import SlotState
from flyinglow.nodectl.errors import TransientError
from flyinglow.nodectl.messages import OrderName
from flyinglow.pilot.bundle import bundle
from flyinglow.pilot.messages import Settings, Standing, settings_line
from rigs import pilot_agent
from rigs.node_service import NodeService, Serve, serve
from rigs.ports import free_port
from rigs.waiting import eventually

__all__ = ["serve"]

LIST = Order(OrderName.LIST)
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts a real pilot of a rank."""
    file = tmp_path / "pilot.pyz"
    file.write_bytes(bundle())
    with ExitStack() as stack:

        def start_(service: NodeService, rank: int = 0, **changes: Any) -> subprocess.Popen[bytes]:
            node = tmp_path / f"node{rank}"
            node.mkdir(exist_ok=True)
            agent = (sys.executable, "-IS", pilot_agent.__file__, str(node), "agent", "--stdio")
            slots = tuple({"memory_mb": 672, "cpus": 1} for _ in service.slots())
            settings = Settings(service.job.tag, service.job.secret, service.url, 600.0, 12.0, 0.5, slots, agent=agent)
            argv = [sys.executable, "-IS", str(file), "--rank", str(rank), "--node", f"n{rank}"]
            pilot = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            stack.callback(_end, pilot)
            assert pilot.stdin
            pilot.stdin.write(settings_line(replace(settings, **changes)))
            pilot.stdin.close()
            return pilot

        yield start_


def _end(pilot: subprocess.Popen[bytes]) -> None:
    pilot.kill()
    pilot.wait()


def ordered(service: NodeService, order: Order = LIST, rank: int = 0) -> Any:
    """Give an order as the provisioner does: again, while it fails for a moment."""
    deadline = time.monotonic() + 120
    while True:
        slot = service.slots()[f"{service.job.tag}.{rank}"]
        try:
            channel = service.reactor_thread.call(service.lines.channel, slot)
            return service.reactor_thread.run(partial(channel.send, order, 60))
        except TransientError:
            if time.monotonic() > deadline:
                raise


def in_state(service: NodeService, state: SlotState) -> Callable[[], bool]:
    return lambda: all(slot.state is state for slot in service.slots().values())


def end(service: NodeService) -> None:
    service.standings.update({slot_id: Standing(end=True, reason="destroyed") for slot_id in service.slots()})
    service.reactor_thread.call(service.intake.wake, list(service.slots()))


@pytest.mark.parametrize("tls", [False, True])
def test_a_whole_life(serve: Serve, start: Start, tmp_path: Path, tls: bool) -> None:
    keys = _keys(tmp_path) if tls else {}
    service = serve(1, **keys)
    pilot = start(service, certificate=keys["certificate"].read_text() if tls else "")
    eventually(in_state(service, SlotState.READY))
    assert ordered(service) == {"vms": []}
    assert ordered(service, Order(OrderName.CREATE, "vm1"))["status"] == "created"
    end(service)
    assert pilot.wait(120) == 0
    [slot] = service.slots().values()
    assert (slot.state, slot.node) == (SlotState.RELEASED, "n0")
    trail = service.trail(slot.id)
    assert [row.kind for row in trail] == ["hello", "ready", "releasing", "released"]
    assert trail[-1].body["destroyed"] == ["vm1"]
    assert slot.facts["ready"]["memory_mb"] == 672


def test_the_service_is_started_anew_while_the_pilot_runs(serve: Serve, start: Start) -> None:
    service = serve(1, port=free_port())
    start(service)
    eventually(in_state(service, SlotState.READY))
    assert ordered(service) == {"vms": []}
    for _ in range(2):
        service.stop()
        service.start()
        assert ordered(service) == {"vms": []}
    assert len(service.changes) == 2  # hello and ready, once


def test_a_signal_reaches_the_service_and_a_warning_the_others(serve: Serve, start: Start) -> None:
    service = serve(2)
    first, second = start(service, 0), start(service, 1)
    eventually(in_state(service, SlotState.READY))
    first.terminate()
    eventually(lambda: any(change.slot.state is SlotState.PREEMPTING for change in list(service.changes)))
    service.standings[f"{service.job.tag}.1"] = Standing(warned=6.0)
    service.reactor_thread.call(service.intake.wake, [f"{service.job.tag}.1"])
    end(service)
    for pilot in (first, second):
        pilot.wait(120)
    eventually(in_state(service, SlotState.RELEASED))
    assert "signalled" in [row.kind for row in service.trail(f"{service.job.tag}.0")]


def test_a_second_pilot_of_the_same_rank_gets_nothing(serve: Serve, start: Start) -> None:
    service = serve(1)
    start(service)
    eventually(in_state(service, SlotState.READY))
    start(service)
    eventually(lambda: any(change.contended for change in list(service.changes)))
    assert ordered(service) == {"vms": []}
    assert service.slots()[f"{service.job.tag}.0"].state is SlotState.READY


@pytest.mark.alone
def test_orders_to_16_real_pilots(serve: Serve, start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    service = serve(16)
    for rank in range(16):
        start(service, rank)
    eventually(in_state(service, SlotState.READY))
    channels = [service.reactor_thread.call(service.lines.channel, slot) for slot in service.slots().values()]

    async def round_() -> float:
        await deferLater(service.reactor_thread.reactor, 0.1)
        began = time.perf_counter()
        await gatherResults([Deferred.fromCoroutine(one.send(LIST, 120)) for one in channels])
        return time.perf_counter() - began

    took = [service.reactor_thread.run(round_) for _ in range(25)][5:]
    with capsys.disabled():
        sys.stdout.write(
            f"\norder to 16 real pilots and back: median {median(took) * 1e3:.1f} ms, worst {max(took) * 1e3:.1f} ms\n"
        )


def _keys(folder: Path) -> dict[str, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    words = [shutil.which("openssl") or "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    words += ["ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=node"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    key.chmod(0o600)
    return {"certificate": certificate, "private_key": key}
