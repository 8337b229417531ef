"""The command ``flyinglow-pilot``: what a batch scheduler runs on each node of a lease.

Its settings are the first line of its standard input (or of a file of mode 0600): one JSON object, with the job's key,
which is therefore in no argument list and in no environment.

Exit codes: 0 all was given back; 2 wrong usage or settings; 3 this node cannot be what is asked for (nothing was
changed); 4 a step failed, and all was given back; 5 something could not be given back; 6 pilot and service, or agent,
are of different versions; 7 the service refuses this pilot.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Union

from flyinglow.nodectl.errors import FlyingLowError, InvalidError
from flyinglow.pilot import signals, spawn
from flyinglow.pilot.bell import Bell

if TYPE_CHECKING:
    import argparse

Arguments = Union["argparse.Namespace", SimpleNamespace]
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LONGEST = 8 << 20  # bytes of settings
_AS_JOBS_DO = 4  # words: --rank N --node NAME


def main(argv: Sequence[str] | None = None) -> int:
    """Run one pilot and return its exit code."""
    started = time.monotonic()
    bell = Bell()
    signals.catch(bell.descriptor)
    arguments = _understood(sys.argv[1:] if argv is None else list(argv))
    try:
        return _run(arguments, _line(arguments.settings), bell, started)
    except FlyingLowError as error:
        sys.stderr.write(f"flyinglow-pilot: {error.message}\n")
        return 6 if "version" in error.message else 2


def _run(arguments: Arguments, line: bytes, bell: Bell, started: float) -> int:
    """Start the agent first: all that is imported below is imported while it starts."""
    begun = None if arguments.dry_run else spawn.ahead(line, arguments.rank)
    from flyinglow.pilot.clock import Clock  # noqa: PLC0415 - see above
    from flyinglow.pilot.messages import settings  # noqa: PLC0415

    clock, told = Clock(time.monotonic, time.time), settings(line)
    if arguments.dry_run:
        from flyinglow.pilot import dry_run  # noqa: PLC0415 - a pilot at work does not wait for it

        return dry_run.explain(told, arguments.rank, arguments.node, clock, sys.stdout)
    from flyinglow.pilot import compose  # noqa: PLC0415 - see above

    return compose.run(told, arguments.rank, arguments.node, clock=clock, bell=bell, started=started, begun=begun)


def _understood(words: list[str]) -> Arguments:
    """Understand what jobs say without a parser, whose import takes long, and all else with it."""
    if len(words) == _AS_JOBS_DO and words[0] == "--rank" and words[1].isdecimal() and words[2] == "--node":
        name = words[3]
        if name and not name.startswith("-"):
            return SimpleNamespace(rank=int(words[1]), node=name, settings=None, dry_run=False)
    return _parser().parse_args(words)


def _parser() -> argparse.ArgumentParser:
    import argparse  # noqa: PLC0415 - see above

    from flyinglow import __version__  # noqa: PLC0415

    introduction, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="flyinglow-pilot",
        description=introduction,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--rank", type=int, required=True, metavar="N", help="which of the job's slots this is, from 0")
    parser.add_argument("--node", required=True, metavar="NAME", help="what the batch scheduler calls this node")
    parser.add_argument("--settings", metavar="FILE", help="read the settings from here instead of standard input")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, try what can be tried, change nothing"
    )
    return parser


def _line(path: str | None) -> bytes:
    """Read the settings' line. Raises InvalidError."""
    descriptor = 0 if path is None else _opened(path)
    try:
        with open(descriptor, "rb", closefd=path is not None) as stream:
            line = stream.readline(_LONGEST)
    except OSError as error:
        raise InvalidError(f"the settings cannot be read: {error}") from error
    if not line.strip():
        raise InvalidError("there are no settings: they are the first line of standard input, or of --settings FILE")
    return line


def _opened(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidError(f"the settings cannot be read: {error}") from error
    if os.fstat(descriptor).st_mode & _OTHERS:
        os.close(descriptor)
        raise InvalidError(f"{path} holds a key and others may read it: give it mode 0600")
    return descriptor


if __name__ == "__main__":
    sys.exit(main())
