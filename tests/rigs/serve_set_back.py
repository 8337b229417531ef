"""Runs ``serve_checked.py`` on a wall clock that is an hour behind from the moment on at which a file is there.

Usage: serve_set_back.py CONFIG VIOLATIONS FILE. What asks the system for the date by other ways gets the right one.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

HOUR = 3600.0
_right = time.time
_file = Path(sys.argv.pop())


def _time() -> float:
    return _right() - (HOUR if _file.exists() else 0.0)


time.time = _time  # before anything of Twisted is imported, which keeps a reference of its own
runpy.run_path(str(Path(__file__).with_name("serve_checked.py")))
