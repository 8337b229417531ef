"""A pilot's input laid down for its job in a directory that only our user may read, before the job is handed over.

Grid Engine keeps a job's script where everybody can read it, on the qmaster's host and on the job's first one, so on a
site with users of its own the job's key is not to stand in there.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.jobs import script
from flyinglow.backend.lrm.settings.terms import job_name

if TYPE_CHECKING:
    from flyinglow.backend.lrm.api import JobRequest

# a repeated submit finds the directory of the first; one that somebody else put there is not used. Jobs that never
# started leave theirs behind, with a key that opens nothing any more
_LAY = """\
umask 077
mkdir "$1" 2>/dev/null || { [ -O "$1" ] && [ ! -L "$1" ]; } || {
    echo "$1 cannot be made for the job's key" >&2
    exit 1
}
find "${1%%/*}" -maxdepth 1 -name '.fl-*' -user "$(id -u)" -mtime +%(days)d -exec rm -rf {} + 2>/dev/null
head -c "$2" >"$1/new" && mv "$1/new" "$1/stream" || exit 1
shift 2
exec "$@"
"""
_DAYS = 60

# read once and gone before any pilot starts; the shell keeps it, in no argument and no environment
_TAKE = """\
deposit=%(deposit)s
trap 'rm -rf "$deposit"' EXIT
stream=$(cat "$deposit/stream") || exit 1
rm -rf "$deposit"
feed() { printf '%%s\\n' "$stream"; }
"""


def lay(directory: str, job: JobRequest, argv: tuple[str, ...], text: bytes) -> tuple[tuple[str, ...], bytes]:
    """Return the words and the standard input that lay the input down and then become the command, with its text."""
    stream = script.stream(job)
    words = ("/bin/sh", "-c", _LAY % {"days": _DAYS}, "sh", _place(directory, job), str(len(stream)))
    return (*words, *argv), stream + text


def take(directory: str, job: JobRequest) -> bytes:
    """Return what a job's script has instead of ``script.feed``."""
    return (_TAKE % {"deposit": shlex.quote(_place(directory, job))}).encode()


def _place(directory: str, job: JobRequest) -> str:
    return f"{directory.rstrip('/')}/.{job_name(job.tag)}"
