"""The text that carries a pilot to its nodes: program and settings as one stream for each pilot's standard input.

Nothing secret stands in an argument list, the environment or a comment: the settings, which hold the job's key, travel
in the job's script. A node gets no file: the pilot runs from memory, so a killed one leaves nothing behind.
"""

from __future__ import annotations

import base64
import shlex
from typing import TYPE_CHECKING

from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from flyinglow.backend.lrm.api import JobRequest

_END = "FLYINGLOW_END_OF_INPUT"

# exactly the program is taken from the input; the settings behind it are the pilot's to read
_LOADER = """
import base64, os, runpy, sys
def take(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            sys.exit("the pilot did not reach this node in full")
        data += part
    return data
head = b""
while not head.endswith(b"\\n"):
    head += take(1)
memory = os.memfd_create("flyinglow-pilot")
with os.fdopen(memory, "wb", closefd=False) as file:
    file.write(base64.b64decode(take(int(head))))
sys.argv[0] = "/proc/self/fd/%d" % memory
runpy.run_path(sys.argv[0], run_name="__main__")
""".strip()


def stream(job: JobRequest) -> bytes:
    """Return what each pilot is to get on its standard input. Raises InvalidError for settings of several lines."""
    settings = job.settings.rstrip(b"\n")
    if b"\n" in settings or b"\0" in settings or settings.startswith(_END.encode()):
        raise InvalidError("a pilot's settings must be one line of JSON")
    program = base64.encodebytes(job.program)
    return b"%d\n%s%s\n" % (len(program), program, settings)


def feed(job: JobRequest) -> bytes:
    """Return a shell function ``feed`` that prints the stream, for the job's script."""
    return b"feed() {\ncat <<'%s'\n%s%s\n}\n" % (_END.encode(), stream(job), _END.encode())


def pilot(interpreter: str, rank: str, node: str) -> str:
    """Return a shell command that becomes the pilot, which finds the stream on its standard input.

    ``rank`` and ``node`` are shell words, expanded where the command runs.
    """
    return f"exec {shlex.quote(interpreter)} -I -S -c {shlex.quote(_LOADER)} --rank {rank} --node {node}"


def words(*argv: str) -> str:
    """Return a shell command of these words, each taken as it is."""
    return shlex.join(argv)
