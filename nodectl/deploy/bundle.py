"""The node's program as one file that a site copies to its nodes: no installation, nothing but Python 3.9 or later.

The same sources and the same Python give the same bytes, whoever builds it and when. The interpreter ignores whatever
its user set (``-I``) and what the site added to Python (``-S``), for root runs it. Beside each module lies its byte
code: a Python of the same version starts twice as fast with it, and any other one takes no notice.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import flyinglow
from flyinglow import nodectl
from flyinglow.nodectl.deploy.byte_code import byte_code
from flyinglow.nodectl.errors import InvalidError

SHEBANG = b"#!/usr/bin/python3 -IS\n"
EPOCH = (1980, 1, 1, 0, 0, 0)
FILE_MODE = 0o100644 << 16
PACKAGE = '"""Flying Low: the part of it that runs on nodes."""\n\n__version__ = "{version}"\n'
START = """import sys

if sys.version_info < (3, 9):
    sys.exit("flyinglow-nodectl needs Python 3.9 or later, and this is " + sys.version.split()[0])

from flyinglow.nodectl import lazily

lazily.later("inspect")
from flyinglow.nodectl.__main__ import main

sys.exit(main())
"""


def build(out: Path) -> None:
    """Write the program to ``out``, which can be run at once. Raises InvalidError when it cannot be written."""
    try:
        with out.open("wb") as file:
            file.write(SHEBANG)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, data in sorted(_members().items()):
                    member = zipfile.ZipInfo(name, EPOCH)
                    member.create_system = 3  # as on the system it is for, whatever it is built on
                    member.external_attr = FILE_MODE
                    archive.writestr(member, data)
        out.chmod(0o755)
    except OSError as error:
        raise InvalidError(f"{out} cannot be written: {error}") from error


def _members() -> dict[str, bytes]:
    package = PACKAGE.format(version=flyinglow.__version__)
    members = {"__main__.py": START.encode(), "flyinglow/__init__.py": package.encode()}
    folder = os.path.dirname(nodectl.__file__)  # noqa: PTH120 - it may be a place inside of an archive
    if not os.path.isdir(folder):  # noqa: PTH112 - the same
        return _own_members()
    for path in Path(folder).rglob("*.py"):
        members[f"flyinglow/nodectl/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return {**members, **{f"{name}c": byte_code(name, text) for name, text in members.items()}}


def _own_members() -> dict[str, bytes]:
    """Return what is in the file that this program runs from."""
    own = nodectl.__file__.rsplit("/flyinglow/nodectl/", 1)[0]
    with zipfile.ZipFile(own) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
