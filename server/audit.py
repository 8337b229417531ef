"""The audit log: one JSON line for every call that changes something or was refused, appended to a file of its own.

A line is one write to a file that is open for appending only, so what others write meanwhile never mixes with it, and
nothing that was written can be changed through it. SIGHUP opens the file anew, for those who move it away. What
callers wrote stands in it as JSON escapes it: no control character, and nothing but ASCII. When a line cannot be
written, the service's log says so, and the call stands: it has happened.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from typing import TYPE_CHECKING, Any, Final

from flyinglow.nodectl.errors import BrokenError
from flyinglow.wsrf.xml import qname

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from flyinglow.wsrf.audited import Audited

log = logging.getLogger("flyinglow.server.audit")

_LONGEST: Final = 512
_TAIL: Final = 1 << 20

READS: Final = frozenset(
    {
        qname("flf", "Validate"),
        qname("flf", "Estimate"),
        qname("flf", "List"),
        qname("flw", "Console"),
        qname("flg", "Report"),
        qname("fle", "Report"),
        *(
            qname("rp", f"{name}Resource{what}")
            for name, what in (
                ("Get", "Property"),
                ("GetMultiple", "Properties"),
                ("Get", "PropertyDocument"),
                ("Query", "Properties"),
            )
        ),
        qname("wsnt", "GetCurrentMessage"),
        qname("wsnt", "GetMessages"),  # it moves the mark of what was read, and comes again and again
    }
)
"""The operations that change nothing. Whatever is not named here is audited."""

PROBES: Final = frozenset({"ResourceUnknownFault", "DeniedFault"})
"""The faults of who looks for what is not his: such calls are audited, whatever they would have done."""

ADMIN_READS: Final = frozenset(
    {
        "node.list",
        "workspace.list",
        "status",
        "alarm.list",
        "stranger.list",
        "backend.inspect",
        "audit.list",
    }
)
"""The verbs of the admin socket that change nothing."""


class AuditFile:
    """Appends lines to a file. Called on any thread.

    ``sync`` is "always" (each line is on the disk before its call is answered), "second" (call ``settle`` so often)
    or "never".
    """

    def __init__(self, path: Path, sync: str) -> None:
        """Open the file, and make it readable by its owner and group only. Raises BrokenError."""
        self._path, self._always, self._ever = path, sync == "always", sync != "never"
        self._lock = threading.Lock()
        self._fresh = False
        self._torn = False
        self._descriptor = self._open()

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line; a failure is told to the service's log."""
        line = json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"
        try:
            with self._lock:
                self._append(line)
        except OSError as error:
            log.critical("the audit log cannot be written", extra={"reason": error.strerror, "line": line.decode()})

    def _append(self, line: bytes) -> None:
        whole = b"\n" + line if self._torn else line  # so that what was cut off does not spoil what follows
        written = os.write(self._descriptor, whole)
        self._torn = written != len(whole) and (self._torn or written > 0)
        if written != len(whole):
            raise OSError(0, "a line was written in part only")
        if self._always:
            os.fdatasync(self._descriptor)
        self._fresh = True

    def settle(self) -> None:
        """Force what was written since the last time to the disk; blocks."""
        with self._lock:
            due, self._fresh = self._fresh and self._ever and not self._always, False
            descriptor = os.dup(self._descriptor) if due else None
        if descriptor is not None:
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

    def reopen(self) -> None:
        """Open the file by its name anew; the old one stays in use when that fails."""
        try:
            opened = self._open()
        except BrokenError as error:
            log.critical("the audit log cannot be opened anew", extra={"reason": error.message})
            return
        with self._lock:
            old, self._descriptor, self._torn = self._descriptor, opened, False
        os.close(old)

    def last(self, count: int) -> list[dict[str, Any]]:
        """Return the last ``count`` records of the file, oldest first; blocks."""
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read().split(b"\n")[:-1]
        whole = lines if size <= _TAIL else lines[1:]
        wanted = [line for line in whole if line][-count:] if count > 0 else []
        return [_record(line) for line in wanted]

    def close(self) -> None:
        """Force what was written to the disk, and close."""
        self.settle()
        os.close(self._descriptor)

    def _open(self) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            return _private(os.open(self._path, flags, 0o640))
        except OSError as error:
            raise BrokenError(f"[audit] file: {self._path} cannot be opened: {error.strerror}") from None


def _private(descriptor: int) -> int:
    """Return an open file's descriptor; others than its owner and group can read it no longer."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise OSError(0, "it is no regular file")
    if found.st_mode & 0o137:
        os.fchmod(descriptor, found.st_mode & 0o640)
    return descriptor


def _record(line: bytes) -> dict[str, Any]:
    """Return what a line says; one that a full disk cut off is shown as it is."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"torn": line.decode("ascii", "replace")}
    return found


class Audit:
    """Writes the lines: of the SOAP calls, and of the admin socket's verbs."""

    def __init__(self, write: Callable[[Mapping[str, Any]], None]) -> None:
        self._write = write

    def call(self, call: Audited) -> None:
        """Write the line of a SOAP call, unless it only read what it may, or was no call that the service knows."""
        changes = bool(call.element) and call.element not in READS
        if not (changes or call.refused or call.outcome in PROBES):
            return
        self._write(
            {
                "at": call.at.isoformat(),
                "who": _cut(call.caller.name),
                "via": call.caller.via,
                "limited": call.caller.limited,
                "from": call.peer,
                "endpoint": call.endpoint,
                "operation": _cut(call.operation),
                "resource": _cut(call.made or call.resource),
                "outcome": call.outcome,
                "incident": call.incident,
                "message_id": _cut(call.message_id),
            }
        )

    def verb(self, verb: str, args: Mapping[str, Any], outcome: str, *, at: datetime, peer: str) -> None:
        """Write the line of a verb of the admin socket, unless it only read."""
        if verb in ADMIN_READS:
            return
        self._write(
            {
                "at": at.isoformat(),
                "who": "operator",
                "via": "operator",
                "limited": False,
                "from": peer,
                "endpoint": "admin",
                "operation": _cut(verb),
                "resource": _cut(str(args.get("name", ""))),
                "outcome": outcome,
                "incident": "",
                "message_id": "",
            }
        )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
