"""``flyinglow doctor --job``: one small real job that shows what no configuration tells.

It looks at interpreter, sudo and network on a node, as the jobs' user; then it is cancelled, and the time from the
scheduler's notice to its SIGKILL is the *cancel grace*. What a pre-emption or a time limit grants is not measured.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from flyinglow import __version__
from flyinglow.backend.lrm.api import JobRequest
from flyinglow.backend.lrm.model import Component
from flyinglow.backend.lrm.settings.terms import job_name
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.nodectl.errors import FlyingLowError, TransientError
from flyinglow.pilot.messages import PATH
from flyinglow.server.doctor.finding import Finding
from flyinglow.server.doctor.hearing import Hearing
from flyinglow.server.doctor.lrm import NOTICES, told, understood

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flyinglow.backend.lrm.api import JobView
    from flyinglow.backend.lrm.settings.options import LrmOptions
    from flyinglow.server.configuration.settings import Config
    from flyinglow.server.doctor.commands import Scheduler

_MEMORY_MB = 256
_OLDEST = (3, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds. A running service would cancel a job with our name that it does not know (``stray_grace``)."""

    start: float = 90.0  # until the job says that it runs
    silence: float = 10.0  # without a sign of life it was killed
    longest: float = 180.0  # how long a grace may be to be measured
    end: float = 60.0  # until the scheduler lists the job no more
    ask: float = 5.0  # between two listings, while the job says nothing
    look: float = 1.0  # the same, while it ends


@dataclass(slots=True)
class Heard:
    """What the job said."""

    signal: str | None = None
    since: float = 0.0
    outlived: bool = False
    said: dict[str, dict[str, Any]] = field(default_factory=dict)


def examine(config: Config, *, serving: bool, patience: Patience | None = None) -> Iterator[Finding]:
    """Submit the job, hear it, cancel it. ``serving``: the service has the node listener's port itself."""
    try:
        options, scheduler = understood(config)
        listener = config.listen.node
        with Hearing(listener, told(listener, options), port=0 if serving else listener.port) as hearing:
            service = told(listener, options) + PATH if serving else None
            yield from _Trial(options, scheduler, hearing, service, patience or Patience()).findings()
    except FlyingLowError as error:
        yield Finding("job", ok=False, detail=error.message, fix="see the message; without --job the doctor says more")


class _Trial:
    """One job from its submission until the scheduler lists it no more."""

    def __init__(
        self, options: LrmOptions, scheduler: Scheduler, hearing: Hearing, service: str | None, patience: Patience
    ) -> None:
        self._options, self._scheduler, self._hearing = options, scheduler, hearing
        self._service, self._patience = service, patience
        self._tag = "d" + secrets.token_hex(4)
        self._name = job_name(self._tag)
        self._log = f"{options.directory}/{self._name}.log"
        self._heard = Heard()
        self._id = ""

    def findings(self) -> Iterator[Finding]:
        self._id = self._scheduler.submit(self._request())
        try:
            found = list(self._look())
        finally:
            last = self._end()
        yield from [*found, last]

    def _request(self) -> JobRequest:
        patience = self._patience
        settings = {
            "url": self._hearing.url,
            "service": self._service,
            "certificate": self._options.authority(),
            "agent": list(map(str, self._options.agent)),
            "patience": patience.longest + patience.start,
            "log": self._log,
        }
        seconds = int(2 * patience.longest + patience.start)
        return JobRequest(
            tag=self._tag,
            components=(Component(nodes=1, memory_mb=_MEMORY_MB, cpus=1),),
            seconds=min(seconds, self._options.longest or seconds),
            program=files("flyinglow.server.doctor").joinpath("probe.py").read_bytes(),
            settings=json.dumps(settings).encode(),
            reservation=self._options.reservation,
        )

    def _look(self) -> Iterator[Finding]:
        if not self._wait("alive", self._patience.start):
            yield self._silent()
            return
        yield from self._told()
        self._scheduler.cancel(self._id)
        self._listen_to_the_end()
        yield self._grace()

    def _wait(self, what: str, seconds: float) -> bool:
        """Wait for a word of the job; not longer than the scheduler has the job."""
        deadline = time.monotonic() + seconds
        while what not in self._heard.said and time.monotonic() < deadline:
            one = self._hearing.next(min(self._patience.ask, deadline - time.monotonic()))
            self._take(one)
            if one is None and _is_over(self._listed()):
                break
        return what in self._heard.said

    def _take(self, one: dict[str, Any] | None) -> None:
        if one is None:
            return
        self._heard.said[str(one.get("what"))] = one
        if one.get("signal") and one.get("since") is not None:
            self._heard.signal, self._heard.since = str(one["signal"]), float(one["since"])

    def _listen_to_the_end(self) -> None:
        deadline = time.monotonic() + self._patience.longest
        while time.monotonic() < deadline:
            one = self._hearing.next(self._patience.silence)
            self._take(one)
            if one is None or "patience" in self._heard.said:
                return
        self._heard.outlived = True

    def _told(self) -> Iterator[Finding]:
        started, agent = self._heard.said["started"], self._heard.said["agent"]
        node, python = str(started["node"]), str(started["python"])
        ok = tuple(int(part) for part in python.split(".")[:2] if part.isdigit()) >= _OLDEST
        fix = "name one of 3.9 or later, on every node, as 'interpreter'"
        yield Finding("interpreter", ok=ok, detail=f"{node}: {started['executable']} is Python {python}", fix=fix)
        yield self._agent(node, agent)
        how = "the job reported to the doctor in its place"
        reached = self._heard.said.get("service", {"reached": True, "said": how})
        detail = f"{node} reaches {self._service or self._hearing.url.rpartition('/')[0]}"
        if not reached["reached"]:
            detail = f"{node} does not reach {self._service}: {reached['said']}"
        fix = "check 'url', the firewall between nodes and service, and the certificate that pilots are told"
        yield Finding("service from a node", ok=bool(reached["reached"]), detail=detail, fix=fix)

    def _agent(self, node: str, agent: dict[str, Any]) -> Finding:
        line = " ".join(map(str, self._options.agent))
        if agent["version"] is None:
            fix = (
                "install flyinglow-nodectl there and give the jobs' user its sudo rules: flyinglow-nodectl sudoers USER"
            )
            return Finding("agent through sudo", ok=False, detail=f"{node}: {line}: {agent['said']}", fix=fix)
        ok = agent["version"] == __version__
        detail = f"{node}: version {agent['version']}" + ("" if ok else f", and this is {__version__}")
        return Finding("agent through sudo", ok=ok, detail=detail, fix="install this version's flyinglow-nodectl there")

    def _grace(self) -> Finding:
        heard, granted = self._heard, self._options.grace
        mend = f"raise {NOTICES[self._options.lrm]}"
        if heard.signal is None:
            detail = "the cancelled job was killed without notice"
            return Finding("cancel grace", ok=False, detail=detail, fix=f"{mend}; VMs cannot be ended in time")
        measured = f"{heard.since:.1f} s from {heard.signal} to SIGKILL"
        if heard.outlived or "patience" in heard.said:
            measured = f"more than {heard.since:.0f} s after {heard.signal}"
        detail = f"{measured}; configured are {granted:g} s. Pre-emption and time limit: as configured, not measured"
        fix = f"set 'grace' to {int(heard.since)} at most, or {mend}"
        return Finding("cancel grace", ok=heard.since >= granted - 1, detail=detail, fix=fix)

    def _silent(self) -> Finding:
        view, job = self._listed(), f"{self._name} ({self._id})"
        if view is None or _is_over(view):
            word = f": {view.native} {view.reason}".rstrip() if view else ""
            fix = f"the first node's log says why: {self._log}"
            return Finding("job", ok=False, detail=f"{job} ended by itself before it said anything{word}", fix=fix)
        if view.says is LrmSays.WAITING:
            detail = f"{job} was not started within {self._patience.start:g} s: {view.native} {view.reason}".rstrip()
            return Finding("job", ok=False, detail=detail, fix="run it again when a node is free")
        detail = f"{job} runs on {', '.join(view.nodes) or 'a node'}, but nothing was heard of it"
        fix = f"can nodes reach {self._hearing.url.rpartition('/')[0]}? The job's log there: {self._log}"
        return Finding("job", ok=False, detail=detail, fix=fix)

    def _listed(self) -> JobView | None:
        return next((view for view in self._scheduler.list() if view.tag == self._tag), None)

    def _end(self) -> Finding:
        """Cancel it until the scheduler lists it as over, or no more."""
        deadline = time.monotonic() + self._patience.end
        failure = "the scheduler lists it still"
        while time.monotonic() < deadline:
            try:
                view = self._listed()
                if view is None or _is_over(view):
                    return Finding("end of the job", ok=True, detail=f"{self._name} ({self._id}) is over")
                if view.says is not LrmSays.ENDING:
                    self._scheduler.cancel(self._id)
            except TransientError as error:
                failure = error.message
            time.sleep(self._patience.look)
        return Finding(
            "end of the job", ok=False, detail=f"{self._name}: {failure}", fix=f"cancel the job {self._id} by hand"
        )


def _is_over(view: JobView | None) -> bool:
    return view is None or view.says in {LrmSays.ENDED, LrmSays.GONE}
