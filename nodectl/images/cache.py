"""Images on the node by their content: fetched once, whoever wants them and however often, and forgotten by last use.

``STATE/cache/DIGEST`` is a whole image whose checksum was seen to be right, ``DIGEST.part`` one on its way and
``DIGEST.size`` how long it will be, for those who are handed what has come of it (``shelf``). A VM that
uses an image has a hard link to it in its own directory, made under the image's lock: what has a second link is in use
and is never evicted, and nothing but the file system has to remember it. Any step may be cut short: a part is carried
on with, a whole image is only ever renamed into its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flyinglow.nodectl.errors import ExhaustedError, InvalidError, TransientError
from flyinglow.nodectl.images.meter import MIB, Meter
from flyinglow.nodectl.images.shelf import PART, SIZE, note_size, read_size
from flyinglow.nodectl.vmdir import PRIVATE, StateDir

CHUNK = 1 << 20
TURN = 0.05  # seconds between two tries to take the lock of an image that somebody else fetches
READ_ONLY = 0o444


class Source(Protocol):
    """One file somewhere."""

    @property
    def behind(self) -> Source | None:
        """What lies behind somebody else's copies, for when those were wrong; None where the file itself is asked."""

    def fetch(self, part: Path, meter: Meter) -> None:
        """Append to ``part`` what it lacks. Raises TransientError when it is worth another try."""


@dataclass(frozen=True)
class Bounds:
    """What the cache may take. Sizes are MiB, times seconds."""

    most_mb: int
    kept_free_mb: int
    tries: int = 3
    pause: float = 1.0  # before the next try


class Cache:
    """The images of a node, shared by all programs and threads on it."""

    def __init__(self, state: StateDir, bounds: Bounds, sleep: Callable[[float], None] = time.sleep) -> None:
        self._state = state
        self._folder = state.path / "cache"
        self._bounds = bounds
        self._sleep = sleep

    def link(self, digest: str, source: Source, meter: Meter, target: Path) -> None:
        """Make ``target`` the image with this checksum, fetching it when it is not there.

        Raises InvalidError when what comes is something else, ExhaustedError without room, Cancelled when ``meter``
        says so, TransientError when the source could not be reached.
        """
        self._folder.mkdir(mode=PRIVATE, exist_ok=True)
        whole = self._folder / digest
        with self._locked(digest, meter):
            if not whole.exists():
                self._fetch(digest, source, meter, whole)
            os.utime(whole, ns=(time.time_ns(), whole.stat().st_mtime_ns))
            target.unlink(missing_ok=True)
            os.link(whole, target)

    def make_room(self, needed: int, sparing: str = "") -> None:
        """Evict what is used by nobody, least recently used first, until ``needed`` bytes more fit.

        Raises ExhaustedError when that is not enough.
        """
        with self._state.locked("cache"):
            for digest in self._oldest(sparing):
                if self._lacking(needed, sparing) <= 0:
                    return
                self._evict(digest)
            lacking = self._lacking(needed, sparing)
        if lacking > 0:
            figures = {"cache_mb.asked": needed // MIB, "cache_mb.lacking": -(-lacking // MIB)}
            raise ExhaustedError(
                f"no room for an image of {needed // MIB} MiB: {-(-lacking // MIB)} MiB more are needed "
                f"(configuration keys cache_max_mb, minimum_free_disk_mb)",
                figures,
            )

    def held(self) -> dict[str, int]:
        """Return the bytes of each image that is there as a whole, by checksum."""
        return {path.name: path.stat().st_size for path in self._files() if not path.suffix}

    def _fetch(self, digest: str, source: Source, meter: Meter, whole: Path) -> None:
        part = self._folder / (digest + PART)
        doubtful = source.behind is not None or _size(part) > 0  # what was there before may have been of another file
        meter.room = lambda total: self.make_room(total - _size(part), digest)
        meter.hear = lambda total: note_size(self._folder, digest, total)
        self._try(source, part, meter)
        found = sha256(part, meter)
        if found != digest and doubtful:
            part.unlink()
            self._try(source.behind or source, part, meter)
            found = sha256(part, meter)
        note_size(self._folder, digest, None)
        if found != digest:
            part.unlink()
            raise InvalidError(f"{meter.what} has checksum {found}, not {digest}")
        _settle(part, whole)

    def _try(self, source: Source, part: Path, meter: Meter) -> None:
        """Fetch until it is all there; a try that got further does not count."""
        left = self._bounds.tries
        while True:
            before = _size(part)
            try:
                source.fetch(part, meter)
            except TransientError:
                meter.check()  # what is not wanted any more breaks off, too
                left = left - 1 if _size(part) <= before else self._bounds.tries
                if left <= 0:
                    raise
                self._sleep(self._bounds.pause)
            else:
                return

    @contextlib.contextmanager
    def _locked(self, digest: str, meter: Meter) -> Iterator[None]:
        """Hold the lock of one image; who waits for another's transfer can be told to stop."""
        while True:
            meter.check()
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(self._state.locked(f"image-{digest}", wait=False))
                except BlockingIOError:
                    self._sleep(TURN)
                    continue
                yield
                return

    def _evict(self, digest: str) -> None:
        """Remove an image nobody uses; one that is being fetched or linked just now is left."""
        with contextlib.suppress(BlockingIOError), self._state.locked(f"image-{digest}", wait=False):
            whole = self._folder / digest
            with contextlib.suppress(FileNotFoundError):
                if whole.stat().st_nlink == 1:
                    whole.unlink()
            for suffix in (PART, SIZE):
                (self._folder / (digest + suffix)).unlink(missing_ok=True)

    def _oldest(self, sparing: str) -> list[str]:
        used: dict[str, float] = {}
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):
                digest = path.name.partition(".")[0]
                used[digest] = max(used.get(digest, 0.0), path.stat().st_atime)
        used.pop(sparing, None)
        return sorted(used, key=lambda digest: used[digest])

    def _lacking(self, needed: int, sparing: str) -> int:
        """Return how many bytes are too few, of what the cache may take or of the disk."""
        held = sum(_size(path) for path in self._files() if path.suffix != SIZE)
        awaited = sum(self._awaited(digest) for digest in self._oldest(sparing))
        status = os.statvfs(self._folder)
        free = status.f_bavail * status.f_frsize - self._bounds.kept_free_mb * MIB
        return needed - min(self._bounds.most_mb * MIB - held, free) + awaited

    def _awaited(self, digest: str) -> int:
        """Return how many bytes of an image are still to come that somebody is fetching just now."""
        total = read_size(self._folder, digest)
        if total is None or not self._state.is_locked(f"image-{digest}"):
            return 0
        return max(0, total - _size(self._folder / (digest + PART)))

    def _files(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []


def sha256(path: Path, meter: Meter | None = None) -> str:
    """Return a file's checksum; ``meter`` may cut it short."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            if meter is not None:
                meter.check()
            digest.update(chunk)
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _settle(part: Path, whole: Path) -> None:
    """Give a verified part its name, so that after a loss of power there is all of it or none."""
    part.chmod(READ_ONLY)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(whole)
    handle = os.open(whole.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
