"""A batch scheduler's commands for the doctor: carried out one after the other, blocking, as the service's user."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flyinglow.backend.lrm.api import Output
from flyinglow.backend.lrm.shell import surroundings, together
from flyinglow.nodectl.errors import InvalidError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flyinglow.backend.lrm.api import Adapter, Call, JobRequest, JobView, Survey

T = TypeVar("T")


class Scheduler(Protocol):
    """What the doctor asks of a batch scheduler. Every verb blocks, and raises FlyingLowError."""

    def survey(self) -> Survey:
        """See ``Adapter.survey``."""

    def submit(self, job: JobRequest) -> str:
        """See ``Adapter.submit``."""

    def list(self) -> tuple[JobView, ...]:
        """See ``Adapter.list``."""

    def cancel(self, lrm_id: str) -> None:
        """See ``Adapter.cancel``."""


class Commands:
    """See ``Scheduler``. ``user`` is who runs the commands, where this process is root; None: who runs this process."""

    def __init__(self, adapter: Adapter, environment: Mapping[str, str], timeout: float, user: str | None) -> None:
        """Take over. Raises InvalidError for a user that is not there."""
        self._adapter = adapter
        self._environment = surroundings(environment)
        self._timeout = timeout
        self._become: dict[str, Any] = {}
        if user is not None and os.geteuid() == 0:
            self._become = _becoming(user)

    def survey(self) -> Survey:
        """See ``Scheduler``."""
        return together([self._run(call) for call in self._adapter.survey()])

    def submit(self, job: JobRequest) -> str:
        """See ``Scheduler``."""
        return self._run(self._adapter.submit(job))

    def list(self) -> tuple[JobView, ...]:
        """See ``Scheduler``."""
        return self._run(self._adapter.list())

    def cancel(self, lrm_id: str) -> None:
        """See ``Scheduler``."""
        self._run(self._adapter.cancel(lrm_id))

    def _run(self, call: Call[T]) -> T:
        try:
            done = subprocess.run(
                call.argv, input=call.stdin, env=self._environment, cwd="/", capture_output=True, check=False,
                timeout=self._timeout, **self._become,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise TransientError(f"{call.argv[0]} did not answer in {self._timeout:g} s") from None
        except OSError as error:
            raise TransientError(f"{call.argv[0]} could not be started: {error.strerror}") from None
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return call.read(Output(done.returncode, out, err, time.time()))


def _becoming(user: str) -> dict[str, Any]:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise InvalidError(f"the scheduler is asked as [server] user, and there is no user {user}") from None
    groups = os.getgrouplist(user, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
