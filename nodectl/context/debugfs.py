"""Write files into an ext file system that nobody has mounted, by ``debugfs`` of e2fsprogs.

The file system is a tenant's: the kernel never sees it. ``debugfs`` answers 0 whatever happens, so that what it says on
its standard error is what counts, and a check of the whole file system follows. Every name is a quoted word of its
command language; one with control characters, which could end the line, is refused.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flyinglow.nodectl import tools
from flyinglow.nodectl.context.partitions import ext_offset
from flyinglow.nodectl.errors import BrokenError, InvalidError, TransientError

SECONDS = 600.0  # a check reads all inodes of a file system
SUPERBLOCK = 1024
INCOMPATIBLE, RECOVER = 0x60, 0x4  # "was not unmounted": its journal would be played over what is written here
BANNER = re.compile(r"debugfs [0-9]")
TYPE = re.compile(r"^Inode: \d+ +Type: (\w+)", re.MULTILINE)
REGULAR, FOLDER = 0o100000, 0o040000
DIRECTORY = "directory"


@dataclass(frozen=True)
class Written:
    """A file that is to be in a file system: its absolute path, its bytes, its permissions; its owner is root."""

    path: str
    data: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class Programs:
    """The programs that this needs."""

    debugfs: str = "debugfs"
    e2fsck: str = "e2fsck"


class FileSystem:
    """An ext file system in an image file, alone or as the only one among the image's partitions."""

    def __init__(self, image: Path, programs: Programs, scratch: Path) -> None:
        """Look at the image. Raises InvalidError when there is not exactly one, or it was not unmounted.

        ``scratch`` is an empty directory for what is to be written.
        """
        offset = ext_offset(image)
        self._image = f"{image}?offset={offset}" if offset else str(image)
        self._programs = programs
        self._scratch = scratch
        with image.open("rb") as file:
            file.seek(offset + SUPERBLOCK + INCOMPATIBLE)
            word = file.read(4)
        if len(word) < 4:  # noqa: PLR2004 - as many as were asked for
            raise InvalidError("the image ends within its file system's superblock")
        (flags,) = struct.unpack("<I", word)
        if flags & RECOVER:
            raise InvalidError("the image's file system was not unmounted: its context cannot be written into it")

    def has(self, path: str) -> bool:
        """Tell whether there is a file or folder of this path."""
        return self._types([path])[0] is not None

    def write(self, files: Sequence[Written]) -> None:
        """Write these files, in place of what is there, with the folders on the way to them.

        Raises InvalidError when the file system does not take them, BrokenError when it is damaged or a tool fails.
        """
        steps = list(dict.fromkeys(step for file in files for step in _folders(file.path)))
        kinds = self._types([*(f"{step}/" for step in steps), *(file.path for file in files)])
        missing = [step for step, kind in zip(steps, kinds) if kind != DIRECTORY]
        commands = [command for step in missing for command in _mkdir(step)]
        for number, (file, kind) in enumerate(zip(files, kinds[len(steps) :])):
            if kind == DIRECTORY:
                raise InvalidError(f"{file.path} is a folder in the image: no file can be put in its place")
            source = self._scratch / f"file{number}"
            source.write_bytes(file.data)
            commands += _write(source, file, replaced=kind is not None)
        self._do(commands)
        tools.run([self._programs.e2fsck, "-fn", self._image], seconds=SECONDS)

    def _types(self, paths: Sequence[str]) -> list[str | None]:
        """Return of what type the inodes of these paths are; None where there is none."""
        out, said = self._run([f"stat {quoted(path)}" for path in paths], writing=False)
        strange = [line for line in said if not line.rstrip().endswith("File not found by ext2_lookup")]
        answers = re.split(r"^debugfs: stat .*\n", out, flags=re.MULTILINE)[1:]
        if len(answers) != len(paths) or any("not a directory" not in line for line in strange):
            raise BrokenError(f"debugfs cannot read the image: {' '.join(said)[: tools.TAIL]}")
        return [found.group(1) if (found := TYPE.search(answer)) else None for answer in answers]

    def _do(self, commands: list[str]) -> None:
        _, said = self._run(commands, writing=True)
        if said:
            raise InvalidError(f"the image does not take its context: {' '.join(said)[: tools.TAIL]}")

    def _run(self, commands: list[str], *, writing: bool) -> tuple[str, list[str]]:
        """Return what debugfs printed, and its complaints."""
        words = [self._programs.debugfs, *(["-w"] if writing else []), "-f", "-", self._image]
        text = "".join(f"{command}\n" for command in commands)
        try:
            done = subprocess.run(words, input=text.encode(), capture_output=True, check=False, timeout=SECONDS)
        except FileNotFoundError as error:
            raise BrokenError(f"{words[0]} is not on this node (Debian: apt-get install e2fsprogs)") from error
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"{words[0]} was not done after {SECONDS:g} s") from error
        said = [line for line in done.stderr.decode(errors="replace").splitlines() if line and not BANNER.match(line)]
        return done.stdout.decode(errors="replace"), said


def quoted(name: str) -> str:
    """Return a name as one word of debugfs's language. Raises InvalidError for one that would not stay one."""
    if not name.isprintable():
        raise InvalidError(f"{name[:80]!r} cannot be the name of a file in an image")
    return '"' + name.replace('"', '""') + '"'


def _folders(path: str) -> Iterator[str]:
    """Yield the folders on the way to a file, the outermost first."""
    yield from (str(parent) for parent in reversed(PurePosixPath(path).parents) if str(parent) != "/")


def _mkdir(folder: str) -> list[str]:
    where, name = _split(folder)
    return [f"cd {quoted(where)}", f"mkdir {quoted(name)}", *_owned(folder, FOLDER | 0o755)]


def _write(source: Path, file: Written, *, replaced: bool) -> list[str]:
    where, name = _split(file.path)
    removal = [f"rm {quoted(file.path)}"] if replaced else []  # what is there would not be written over
    write = f"write {quoted(str(source))} {quoted(name)}"
    return [f"cd {quoted(where)}", *removal, write, *_owned(file.path, REGULAR | file.mode)]


def _owned(path: str, mode: int) -> list[str]:
    word = quoted(path)
    return [f"set_inode_field {word} mode 0{mode:o}", f"set_inode_field {word} uid 0", f"set_inode_field {word} gid 0"]


def _split(path: str) -> tuple[str, str]:
    """Return the folder, written so that a link to one is followed, and the name in it."""
    where, _, name = path.rpartition("/")
    return f"{where}/", name
