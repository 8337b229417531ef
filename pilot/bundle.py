"""The pilot as one file: what a job's script carries to nodes, made from the installed package.

The same package and the same Python make the same bytes, so that a site can see what ran by its checksum. Beside each
module lies its byte code: a Python of the same version starts sooner with it, any other takes no notice.
"""

from __future__ import annotations

import io
import zipfile
from functools import lru_cache
from importlib import resources

from flyinglow.nodectl.deploy.byte_code import byte_code

PARTS = {
    "pilot": None,
    "nodectl": frozenset({"__init__.py", "errors.py", "framing.py", "lazily.py", "messages.py", "versions.py"}),
}
_UNUSED = frozenset({"bundle.py"})
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say
_MAIN = """\
import sys

from flyinglow.pilot import signals

signals.hold_back()
from flyinglow.nodectl import lazily

lazily.later("inspect")
from flyinglow.pilot.__main__ import main

sys.exit(main())
"""


@lru_cache(maxsize=1)
def bundle() -> bytes:
    """Return the file; run it by ``python3 FILE --rank N --node NAME`` (any Python from 3.9 on; ``-IS`` will do)."""
    files = {"__main__.py": _MAIN.encode(), "flyinglow/__init__.py": _source("", "__init__.py")}
    for folder, only in PARTS.items():
        for name in sorted(entry.name for entry in resources.files("flyinglow").joinpath(folder).iterdir()):
            if name.endswith(".py") and name not in _UNUSED and (only is None or name in only):
                files[f"flyinglow/{folder}/{name}"] = _source(folder, name)
    files.update({f"{path}c": byte_code(path, data) for path, data in files.items()})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, data)
    return out.getvalue()


def _source(folder: str, name: str) -> bytes:
    where = resources.files("flyinglow")
    return (where.joinpath(folder) if folder else where).joinpath(name).read_bytes()
