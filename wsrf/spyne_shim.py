"""The only module that imports Spyne, and the only place that patches it.

Spyne 2.14.0 is its last release. On CPython 3.12 and later the copy of ``six`` that it carries cannot be imported, so
the real one stands in for it; 3.13 needs the ``legacy-cgi`` distribution besides (a dependency, no patch). Whoever
needs a name of Spyne's imports it from here: then the patch has always run first, whatever the order of imports.
"""

from __future__ import annotations

import importlib
import logging
import sys

_MOVES = (
    "",
    ".builtins",
    ".cPickle",
    ".collections_abc",
    ".http_client",
    ".http_cookies",
    ".queue",
    ".urllib",
    ".urllib.error",
    ".urllib.parse",
    ".urllib.request",
)


def _lend_six() -> None:
    """Let the installed ``six`` answer for Spyne's own copy, whose importer lacks ``find_spec``."""
    for name in _MOVES:
        sys.modules[f"spyne.util.six.moves{name}"] = importlib.import_module(f"six.moves{name}")


if sys.version_info >= (3, 12):
    _lend_six()

import spyne.const  # noqa: E402
from spyne import AnyXml, Application, Fault, MethodContext, ServiceBase, rpc  # noqa: E402
from spyne.protocol.soap import Soap11, Soap12  # noqa: E402
from spyne.server import ServerBase  # noqa: E402

# Each closed call may run a full garbage collection, up to once a second: tens of milliseconds for every other caller.
spyne.const.MIN_GC_INTERVAL = float("inf")
# Every fault is logged there with a traceback and the hostile message in it; endpoint.py logs one bounded line instead.
logging.getLogger("spyne").setLevel(logging.CRITICAL + 1)

__all__ = [
    "AnyXml",
    "Application",
    "Fault",
    "MethodContext",
    "ServerBase",
    "ServiceBase",
    "Soap11",
    "Soap12",
    "rpc",
]
