"""The driver ``simulated``: VMs that exist in their directories only, for tests, rehearsals and nodes without QEMU.

It keeps its promises like a real one, across restarts of the program too, and can be told to be slow, to fail, or to
let a VM die by itself: by configuration, or by words in a VM's kernel parameters (``simulated.fail=start``,
``simulated.delay=2``, ``simulated.exit=5``). It never claims that a guest said anything.
"""

from __future__ import annotations

import fnmatch
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flyinglow.nodectl.config import Simulated as Behaviour
from flyinglow.nodectl.errors import BrokenError, from_wire
from flyinglow.nodectl.hypervisor.api import Sight
from flyinglow.nodectl.messages import VmSpec, VmStatus
from flyinglow.nodectl.vmdir import Record, StateDir, VmDir, read_json, write_json

Clock = Callable[[], float]


class Script:
    """What the simulated node does besides its work: waits and failures."""

    def __init__(self, behaviour: Behaviour, sleep: Callable[[float], None] = time.sleep) -> None:
        self._behaviour = behaviour
        self._sleep = sleep
        self._lock = threading.Lock()
        self._left = [failure.get("times") for failure in behaviour.failures]

    def play(self, order: str, spec: VmSpec) -> None:
        """Wait as long as the order takes, then raise the error it is to fail with, if any."""
        words = _words(spec)
        seconds = float(words.get("delay", self._behaviour.delays.get(order, 0.0)))
        if seconds > 0:
            self._sleep(seconds)
        if words.get("fail") == order:
            raise from_wire("transient", f"simulated failure of {order} for VM {spec.name}")
        failure = self._failure(order, spec)
        if failure is not None:
            message = failure.get("message", f"simulated failure of {order} for VM {spec.name}")
            raise from_wire(failure.get("kind", "transient"), message)

    def exit_after(self, spec: VmSpec) -> float | None:
        """Return after how many seconds of running this VM dies by itself, or None."""
        words = _words(spec)
        if "exit" in words:
            return float(words["exit"])
        return next((float(item["seconds"]) for item in self._behaviour.exits if _matches(item, spec)), None)

    def ready_after(self) -> float:
        """Return how many seconds a guest needs to boot."""
        return float(self._behaviour.delays.get("ready", 0.0))

    def _failure(self, order: str, spec: VmSpec) -> dict[str, Any] | None:
        with self._lock:
            for number, failure in enumerate(self._behaviour.failures):
                left = self._left[number]
                if failure.get("order") == order and _matches(failure, spec) and left != 0:
                    self._left[number] = None if left is None else left - 1
                    return failure
        return None


class Simulated:
    """Runs VMs by writing down that they run."""

    def __init__(self, script: Script, clock: Clock = time.monotonic) -> None:
        self._script = script
        self._clock = clock

    def start(self, vm: VmDir, spec: VmSpec, *, paused: bool) -> None:
        """Note that the VM runs. Raises what the script says."""
        self._script.play("start", spec)
        now = self._clock()
        exit_after = self._script.exit_after(spec)
        notes = {
            "state": "paused" if paused else "running",
            "ready_at": now + self._script.ready_after(),
            "exit_at": None if exit_after is None else now + exit_after,
        }
        with vm.console.open("ab") as console:
            console.write(f"simulated: VM {spec.name} was started, no guest runs\r\n".encode())
        vm.update(simulated=notes, started=True)

    def shutdown(self, vm: VmDir, seconds: float) -> None:
        """Note that the VM has stopped, after the time the script gives its guest, but no more than ``seconds``."""
        self._script.play("shutdown", vm.spec())
        self._note(vm, state="stopped")

    def destroy(self, vm: VmDir) -> None:
        """Nothing runs, so nothing is to be ended. Raises what the script says."""
        try:
            spec = vm.spec()
        except BrokenError:
            return  # a script needs a name to go by
        self._script.play("destroy", spec)

    def pause(self, vm: VmDir) -> None:
        """Note that the VM pauses."""
        self._script.play("pause", vm.spec())
        self._note(vm, state="paused")

    def resume(self, vm: VmDir) -> None:
        """Note that the VM goes on."""
        self._script.play("resume", vm.spec())
        self._note(vm, state="running")

    def reboot(self, vm: VmDir) -> None:
        """Note that the guest boots anew."""
        self._script.play("reboot", vm.spec())
        self._note(vm, ready_at=self._clock() + self._script.ready_after())

    def save(self, vm: VmDir, file: Path) -> None:
        """Keep the notes; the VM has stopped then. Raises what the script says."""
        self._script.play("save-state", vm.spec())
        write_json(file, (vm.record() or Record()).simulated)
        self._note(vm, state="stopped")

    def restore(self, vm: VmDir, spec: VmSpec, file: Path, *, paused: bool) -> None:
        """Let a VM go on by the notes that were kept; its guest need not boot. Raises BrokenError for what is none."""
        self._script.play("restore-state", spec)
        notes = read_json(file)
        if not isinstance(notes, dict) or "state" not in notes:
            raise BrokenError(f"{file} is no state of a simulated VM")
        vm.update(simulated={**notes, "state": "paused" if paused else "running"})

    def end_strays(self, state: StateDir) -> list[str]:
        """Nothing runs but in its directory."""
        return []

    def status(self, vm: VmDir) -> Sight:
        """Look at the notes, and at the clock for what happens by itself."""
        notes = (vm.record() or Record()).simulated
        if not notes:
            return Sight(VmStatus.CREATED, ready=False)
        if notes["state"] == "stopped":
            return Sight(VmStatus.STOPPED, ready=False)
        if notes["exit_at"] is not None and self._clock() >= notes["exit_at"]:
            return Sight(VmStatus.BROKEN, "simulated: it died by itself", ready=False)
        ready = notes["state"] == "running" and self._clock() >= notes["ready_at"]
        return Sight(VmStatus.PAUSED if notes["state"] == "paused" else VmStatus.RUNNING, ready=ready)

    def _note(self, vm: VmDir, **changes: Any) -> None:
        record = vm.record() or Record()
        vm.update(record, simulated={**record.simulated, **changes})


class SimulatedDisks:
    """Disks that are not there."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def prepare(self, vm: VmDir, spec: VmSpec) -> None:
        """Make nothing. Raises what the script says of the order create."""
        self._script.play("create", spec)


class SimulatedNetworks:
    """Connections that are not there."""

    def attach(self, spec: VmSpec) -> None:
        """Connect nothing."""

    def detach(self, tag: str) -> None:
        """Disconnect nothing."""

    def detach_all(self) -> None:
        """End nothing."""

    def guard(self, spec: VmSpec) -> bool:
        """Have no rules that could be gone."""
        return False

    def dropped(self, tag: str) -> dict[str, dict[str, int]]:
        """Stop nothing."""
        return {}


def _matches(rule: dict[str, Any], spec: VmSpec) -> bool:
    pattern = rule.get("match", "*")
    return fnmatch.fnmatchcase(spec.name, pattern) or fnmatch.fnmatchcase(spec.tag, pattern)


def _words(spec: VmSpec) -> dict[str, str]:
    pairs = (word.split("=", 1) for word in spec.append.split() if word.startswith("simulated.") and "=" in word)
    return {key[len("simulated.") :]: value for key, value in pairs}
