"""The listener for other nodes: what it cannot serve takes no place of what it can."""

import socket
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from flyinglow.nodectl.images.server import CONNECTIONS, Listener


def test_a_client_that_gets_no_thread_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    with Listener(("127.0.0.1", 0), BaseHTTPRequestHandler) as listener, socket.socket() as one:
        monkeypatch.setattr(threading.Thread, "start", start)
        for _ in range(CONNECTIONS + 1):
            with pytest.raises(RuntimeError):
                listener.process_request(one, ("127.0.0.1", 1))
        assert listener._free._value == CONNECTIONS
