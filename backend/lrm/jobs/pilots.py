"""What a job carries: the pilot program and its settings, with the job's key, for the LRM's adapter to hand over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.backend.lrm.api import JobRequest
from flyinglow.nodectl.errors import InvalidError
from flyinglow.pilot.messages import PATH, Settings, settings_line
from flyinglow.pilot.ssh import Ssh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.backend.lrm.model import PilotJob, Slot
    from flyinglow.backend.lrm.settings.options import LrmOptions


class Pilots:
    """Makes the request for a job; ``url`` is the node listener's. Raises InvalidError without one or for a bad ssh."""

    def __init__(self, options: LrmOptions, url: str, program: bytes, software: str) -> None:
        if not url:
            raise InvalidError("pilots have nowhere to report: configure [listen.node], or 'url' of [backend.options]")
        self._options = options
        self._url = url.rstrip("/") + ("" if url.rstrip("/").endswith(PATH) else PATH)
        self._program = program
        self._software = software
        self._authority = options.authority()
        if options.ssh:
            Ssh(dict(options.ssh))  # a mistake is to be found now, and not by pilots

    def request(self, job: PilotJob, slots: Sequence[Slot]) -> JobRequest:
        """Return what the LRM is asked for."""
        return JobRequest(
            tag=job.tag,
            components=job.components,
            seconds=job.seconds,
            program=self._program,
            settings=settings_line(self.settings(job, slots)),
            reservation=self._options.reservation,
        )

    def settings(self, job: PilotJob, slots: Sequence[Slot]) -> Settings:
        """Return what the pilots are told; each ends its slot by its own clock, a grace before the LRM's limit."""
        options = self._options
        return Settings(
            job=job.tag,
            key=job.secret,
            url=self._url,
            seconds=held(job, options.grace),
            grace=options.grace,
            share=options.share,
            slots=tuple({"memory_mb": slot.memory_mb, "cpus": slot.cpus} for slot in slots),
            epoch=job.epoch,
            memory_policy=options.memory_policy,
            margin_mb=options.margin_mb,
            agent=tuple(map(str, options.agent)),
            certificate=self._authority,
            ssh=dict(options.ssh) or None,
            software=self._software,
        )


def held(job: PilotJob, grace: float) -> float:
    """Return for how many seconds from its pilots' start a job's slots are held."""
    return job.seconds - grace
