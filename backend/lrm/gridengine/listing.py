"""What Grid Engine prints of jobs, read: its XML listing and its letters of state."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from flyinglow.backend.lrm.api import JobView
from flyinglow.backend.lrm.settings.terms import tag_of
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.nodectl.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterable

_LETTERS = re.compile(r"[EdRrtqwhsSTNz]+")
_NUMBER = re.compile(r"[0-9]{1,18}")
_BOUNDLESS = frozenset({"INFINITY", "infinity", "NONE"})


def says(native: str) -> LrmSays:
    """Return what the letters of a state mean (qstat(1)); letters nobody knows mean: ask again.

    A job in error (E) never starts, whatever else is said of it: for us it has ended, and it is to be deleted. A
    suspended one keeps its nodes.
    """
    if not _LETTERS.fullmatch(native):
        return LrmSays.UNKNOWN
    for letters, meaning in (
        ("E", LrmSays.ENDED),
        ("d", LrmSays.ENDING),
        ("z", LrmSays.ENDED),
        ("qw", LrmSays.WAITING),  # before R: a job that is to start again waits as Rq
        ("rt", LrmSays.RUNNING),
        ("sSTN", LrmSays.RUNNING),
    ):
        if set(letters) & set(native):
            return meaning
    return LrmSays.UNKNOWN


def reason(native: str) -> str:
    """Return what the letters of a state say beyond waiting, running or ending."""
    if says(native) is LrmSays.UNKNOWN:
        return ""
    for letters, words in (
        ("E", "Grid Engine could not start the job and put it into its error state (qstat -j tells why)"),
        ("h", "the job is held"),
        ("s", "the job is suspended"),
        ("S", "the job's queue is suspended"),
        ("T", "the job is suspended by a load threshold"),
        ("N", "the job is suspended"),
    ):
        if set(letters) & set(native):
            return words
    return ""


def document(out: str, root: str) -> ET.Element:
    """Return the XML document in what a command printed, whatever warnings stand around it.

    Raises TransientError when it is not all there.
    """
    begin, end = out.find("<?xml"), out.rfind(f"</{root}>")
    text = out[begin : end + len(root) + 3]
    if begin < 0 or end < begin or "<!" in text:
        raise TransientError(f"Grid Engine's answer is no complete {root}: {out[:200]!r}")
    try:
        return ET.fromstring(text)  # noqa: S314 - the site's own qmaster, and no DTD
    except ET.ParseError as error:
        raise TransientError(f"Grid Engine's answer cannot be read: {error}") from error


def jobs(out: str, now: float) -> tuple[JobView, ...]:
    """Read ``qstat -xml -g t -r``, which has one entry for each node of a running job. ``now``: seconds since 1970."""
    entries: dict[str, list[ET.Element]] = {}
    for entry in document(out, "job_info").iter("job_list"):
        number = _text(entry, "JB_job_number")
        if not _NUMBER.fullmatch(number):
            raise TransientError(f"Grid Engine listed a job without a number: {number!r}")
        entries.setdefault(number, []).append(entry)
    return tuple(_view(number, parts, now) for number, parts in entries.items())


def _view(number: str, parts: list[ET.Element], now: float) -> JobView:
    # nodes of one job may differ for a moment; the state that commits us least stands for all
    natives = list(dict.fromkeys(_text(part, "state") for part in parts))
    native = min(natives, key=lambda one: _ORDER.index(says(one)))
    first = parts[0]
    return JobView(
        lrm_id=number,
        tag=tag_of(_text(first, "full_job_name") or _text(first, "JB_name")),
        says=says(native),
        native=native,
        reason=reason(native) or (_wish(first) if says(native) is LrmSays.WAITING else ""),
        nodes=tuple(dict.fromkeys(_nodes(parts))),
        left=_left(first, now),
        restarts=1 if "R" in native else 0,
    )


def _wish(entry: ET.Element) -> str:
    """Say what a waiting job waits for; why it is not to be had yet is told by no listing of all jobs."""
    wish = entry.find("requested_pe")
    count = (wish.text or "").strip() if wish is not None else _text(entry, "slots")
    queues = [(one.text or "").strip() for one in entry.iter("hard_req_queue")]
    where = f" of the queue {', '.join(queues)}" if queues else ""
    return f"it waits for {count} hosts{where} to be free for it at once" if count else "it waits in the queue"


_ORDER = (LrmSays.UNKNOWN, LrmSays.ENDING, LrmSays.WAITING, LrmSays.RUNNING, LrmSays.ENDED)


def _nodes(parts: Iterable[ET.Element]) -> Iterable[str]:
    for part in parts:
        host = _text(part, "queue_name").partition("@")[2]
        if host:
            yield host


def _left(entry: ET.Element, now: float) -> float | None:
    """Return the seconds until the job's own limit; None when it does not run or its times cannot be read."""
    limits = [one.text or "" for one in entry.iter("hard_request") if one.get("name") == "h_rt"]
    if not limits or limits[-1] in _BOUNDLESS or not now:
        return None
    try:
        # the command ran in UTC, see shell.CommandLrm
        began = datetime.fromisoformat(_text(entry, "JAT_start_time")).replace(tzinfo=UTC)
        return began.timestamp() + seconds(limits[-1]) - now
    except ValueError:
        return None


def seconds(text: str) -> float:
    """Read a time span, ``300`` or ``1:30:00``. Raises ValueError."""
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part or 0)
    return total


def _text(entry: ET.Element, name: str) -> str:
    return (entry.findtext(name) or "").strip()
