"""Evaluates expressions of strangers over documents of ours.

An expression of a hundred characters can keep libxml2 busy for years, and nothing can interrupt it from inside, so it
is evaluated in a process of its own, which is ended when its time is over and made again when it is needed again.
The dialect is XPath 1.0 without variables and without functions beyond the standard's own (WS-ResourceProperties 1.2,
section 5.4; WS-BaseNotification 1.3, section 4.2).
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from lxml import etree

from flyinglow.nodectl.errors import ExhaustedError, InvalidError

DIALECT: Final = "http://www.w3.org/TR/1999/REC-xpath-19991116"

_CHILD: Final = Path(__file__).with_name("child.py")
_LENGTH: Final = 4
_START: Final = 30.0  # seconds that the process may take to come up
_LITERAL: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_PREFIX: Final = re.compile(r"([^\W\d][\w.\-]*):(?!:)(?<!::)")
_WORDS: Final = 200  # characters of libxml2's complaint that are passed on


@dataclass(frozen=True, slots=True, kw_only=True)
class XPathLimits:
    """How much an expression may be and take: characters, name spaces, seconds of evaluation, bytes of answer."""

    length: int = 2000
    namespaces: int = 50
    seconds: float = 1.0
    answer: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and the name spaces that were in scope where it stood."""

    text: str
    namespaces: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that an expression selected: an element, as XML, or a text, a number or a truth, as text."""

    text: str
    is_element: bool = False


class XPath(Protocol):
    """What evaluates. Blocking; may be called from several threads."""

    def check(self, query: Query) -> None:
        """Raise InvalidError for what is too long or is no expression."""

    def select(self, document: bytes, query: Query) -> tuple[Part, ...]:
        """Return what the expression selects. Raises InvalidError when it cannot be evaluated, ExhaustedError."""

    def holds(self, document: bytes, queries: Sequence[Query]) -> tuple[bool | None, ...]:
        """Return for each expression whether it is true of the document; None for what cannot be evaluated.

        When one takes too long, none of them is.
        """


def query_at(element: etree._Element) -> Query:
    """Return the expression that stands as text in an element, with the name spaces in scope there."""
    spaces = {prefix: uri for prefix, uri in element.nsmap.items() if prefix}
    return Query("".join(str(text) for text in element.itertext()).strip(), spaces)


class ProcessXPath:
    """Evaluates in one process at a time. ``start`` makes it; ``clock`` tells seconds."""

    def __init__(
        self,
        limits: XPathLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        argv: Sequence[str] = (sys.executable, "-I", str(_CHILD)),
    ) -> None:
        self.limits = limits or XPathLimits()
        self._clock = clock
        self._argv = tuple(argv)
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def check(self, query: Query) -> None:
        """See ``XPath.check``."""
        if not query.text:
            raise InvalidError("the expression is empty")
        if len(query.text) > self.limits.length:
            raise InvalidError(f"the expression is longer than {self.limits.length} characters")
        if len(query.namespaces) > self.limits.namespaces:
            raise InvalidError(f"more than {self.limits.namespaces} prefixes are declared where the expression stands")
        for prefix in _PREFIX.findall(_LITERAL.sub("''", query.text)):
            if prefix not in query.namespaces:  # libxml2 looks only when it gets there
                raise InvalidError(f"the prefix {prefix} is not declared where the expression stands")
        try:
            etree.XPath(query.text, namespaces=dict(query.namespaces), regexp=False)
        except (etree.XPathError, ValueError) as error:
            raise InvalidError(f"this is no XPath 1.0 expression: {error}") from error

    def select(self, document: bytes, query: Query) -> tuple[Part, ...]:
        """See ``XPath.select``."""
        self.check(query)
        (result,) = self._asked(document, [query], "value")
        if "error" in result:
            raise InvalidError(f"the expression cannot be evaluated: {result['error'][:_WORDS]}")
        return tuple(Part(text, kind == "element") for kind, text in result["parts"])

    def holds(self, document: bytes, queries: Sequence[Query]) -> tuple[bool | None, ...]:
        """See ``XPath.holds``."""
        try:
            return tuple(result.get("truth") for result in self._asked(document, queries, "truth"))
        except ExhaustedError:
            return (None,) * len(queries)

    def close(self) -> None:
        """End the process; it is made again when something is to be evaluated."""
        with self._lock:
            self._end()

    def _asked(self, document: bytes, queries: Sequence[Query], want: str) -> list[dict[str, Any]]:
        if not queries:
            return []
        plain = [{"text": query.text, "namespaces": dict(query.namespaces)} for query in queries]
        request = json.dumps({"document": document.decode(), "queries": plain, "want": want}).encode()
        with self._lock:
            try:
                answer = self._child_there().ask(request, self.limits)
            except (OSError, ExhaustedError) as error:
                self._end()
                raise _too_much(error, self.limits) from error
        results: list[dict[str, Any]] = json.loads(answer)["results"]
        return results

    def _child_there(self) -> _Child:
        if self._child is None:
            self._child = _Child(self._argv, self._clock)
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


def _too_much(error: Exception, limits: XPathLimits) -> ExhaustedError:
    if isinstance(error, ExhaustedError):
        return error
    if isinstance(error, TimeoutError):
        return ExhaustedError(f"the expression took longer than {limits.seconds:g} s: ask for less")
    return ExhaustedError("the expression took more memory than there is for it: ask for less")


class _Child:
    """One process, spoken to over a socket, because a socket's waits can be bounded."""

    def __init__(self, argv: Sequence[str], clock: Callable[[], float]) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                list(argv),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C"},
            )
        self._clock = clock
        self._ready = False

    def ask(self, request: bytes, limits: XPathLimits) -> bytes:
        """Return the answer to a request. Raises OSError (TimeoutError when it takes too long) or ExhaustedError."""
        if not self._ready:
            self._take(_LENGTH, self._clock() + _START)
            self._ready = True
        end = self._clock() + limits.seconds
        self._socket.settimeout(limits.seconds)
        self._socket.sendall(len(request).to_bytes(_LENGTH, "big") + request)
        size = int.from_bytes(self._take(_LENGTH, end), "big")
        if size > limits.answer:
            raise ExhaustedError(f"the answer would have more than {limits.answer} bytes: ask for less")
        return self._take(size, end)

    def _take(self, size: int, end: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._socket.settimeout(max(end - self._clock(), 0.001))
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the process that evaluates has ended")
            data += piece
        return bytes(data)

    def end(self) -> None:
        """End it at once."""
        self._socket.close()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
