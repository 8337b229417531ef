"""Asks the running daemon through its admin socket (``server/administration/socket.py`` describes the lines)."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from flyinglow.nodectl.errors import BrokenError, DeniedError, from_wire

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SOCKET = "admin.sock"


def ask(state_dir: Path, verb: str, args: Mapping[str, Any], *, timeout: float = 30.0) -> Any:
    """Send one request and return the answer's body. Raises the FlyingLowError that the daemon answered with.

    Raises DeniedError when the socket may not be opened and BrokenError when no daemon answers on it.
    """
    path = state_dir / SOCKET
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps({"verb": verb, "args": dict(args)}).encode() + b"\n")
            line = connection.makefile("rb").readline()
        except PermissionError:
            message = f"{path} is open to the daemon's user and root only"
            raise DeniedError(message) from None
        except OSError as error:
            message = f"no daemon answers on {path} ({error}); is `flyinglow serve` running with this state_dir?"
            raise BrokenError(message) from None
    return _body(line, str(path))


def _body(line: bytes, path: str) -> Any:
    if not line:
        message = f"the daemon closed {path} without an answer; its log says more"
        raise BrokenError(message)
    answer = json.loads(line)
    if answer["ok"]:
        return answer["body"]
    error = answer["error"]
    raise from_wire(error["kind"], error["message"], error.get("figures"))
