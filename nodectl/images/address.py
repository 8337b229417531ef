"""Where an image lies: a checked URI, which is shown to people without what it may hold of secrets.

Schemes are ``file``, ``http``, ``https`` and ``scp`` (as ``scp://user@host:port/path``), and ``store:NAME`` for a name
below the site's store (configuration key image_store). Nothing of an address can become an option, a shell word or a
step out of a directory: what is not plain is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from flyinglow.nodectl.errors import DeniedError, InvalidError

PORTS = {"http": 80, "https": 443, "scp": 22}
SCHEMES = ("file", *PORTS)
STORE = "store"
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?\Z|[0-9a-f:]+\Z")
USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\Z")
PLAIN = re.compile(r"/[A-Za-z0-9_.,+@=/~-]*\Z")  # what sftp takes for nothing but a path
LABEL = 63  # characters of one label of a host's name at the most
LONGEST = 255  # characters of a name of the store
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@=-]*(/[A-Za-z0-9_][A-Za-z0-9_.+@=-]*)*\Z")


@dataclass(frozen=True)
class Address:
    """A URI in its parts. ``target`` is what an HTTP server is asked for; ``path`` is decoded."""

    scheme: str
    host: str
    port: int
    path: str
    target: str = field(default="", repr=False)
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return the address as people and logs may see it: without user, password and query."""
        if self.scheme == "file":
            return f"file://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def authority(self) -> tuple[str, str, int]:
        """What must be the same for two addresses to lie on one server, asked in one way."""
        return self.scheme, self.host, self.port


def read(text: str, store: str = "") -> Address:
    """Check a URI; ``store`` is what ``store:`` names lie below. Raises InvalidError, which shows no secrets."""
    if text.startswith("sftp:"):
        text = text.replace("sftp:", "scp:", 1)
    if text.startswith(f"{STORE}:"):
        text = _stored(text[len(STORE) + 1 :], store)
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise InvalidError("an image's address is no URI") from None
    if any(ord(char) <= ord(" ") for char in text):
        raise InvalidError("an image's address has white space or control characters")
    if parts.scheme not in SCHEMES:
        raise InvalidError(f"images come by {', '.join(SCHEMES)} or {STORE}:, not by {parts.scheme or 'no'} scheme")
    if parts.netloc and not parts.path:
        parts = parts._replace(path="/")
    path = unquote(parts.path)
    if not path.startswith("/") or ".." in path.split("/") or not path.isprintable() or parts.fragment:
        raise InvalidError("an image's address needs an absolute path without .. and without a fragment")
    if parts.scheme == "file":
        return _file(parts, path)
    _check_server(parts, host)
    user, password = _secrets(parts)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    address = Address(parts.scheme, host, port or PORTS[parts.scheme], path, target, user, password)
    return _scp(address, parts) if parts.scheme == "scp" else address


def is_node(url: object, target: str) -> bool:
    """Tell whether a URL is ``http://NUMBER:PORT`` with this target and nothing else, as nodes name one another."""
    try:
        there = read(url) if isinstance(url, str) else None
        ipaddress.ip_address(there.host if there else "")
    except (InvalidError, ValueError):
        return False
    return there is not None and there.scheme == "http" and there.target == target and there.user is None


def redacted(text: str) -> str:
    """Return a URI as people may see it; what cannot be read is not shown at all."""
    if "://" not in text:
        return text
    try:
        return str(read(text))
    except InvalidError:
        return f"{text.split(':', 1)[0]}:..."


def check_allowed(address: Address, prefixes: Sequence[str], key: str, *, default: bool) -> None:
    """Raise DeniedError unless an address lies below one that the node's configuration lists.

    ``default`` is what holds when it lists none.
    """
    if not prefixes and default:
        return
    if not any(_below(address, read(prefix)) for prefix in prefixes):
        raise DeniedError(f"this node has nothing to do with {address} (configuration key {key})")


def _below(address: Address, root: Address) -> bool:
    if address.authority != root.authority:
        return False
    folder = root.path.rstrip("/") + "/"
    return address.path == root.path or address.path.startswith(folder)


def _check_server(parts: SplitResult, host: str) -> None:
    labels = () if ":" in host else host.split(".")
    if not HOST.match(host) or not all(0 < len(label) <= LABEL for label in labels):
        raise InvalidError("an image's address needs the plain name or number of a host")
    if not parts.path.isascii() or not parts.query.isascii():
        raise InvalidError("path and query of an image's address are in ASCII, the rest of what there is as %XX")


def _stored(name: str, store: str) -> str:
    if not store:
        raise InvalidError("this node knows no store (configuration key image_store)")
    if not NAME.match(name) or len(name) > LONGEST:
        raise InvalidError(f"{name[:80]!r} is no name of the store: plain words with / between them")
    return f"{store.rstrip('/')}/{name}"


def _file(parts: SplitResult, path: str) -> Address:
    if parts.netloc not in ("", "localhost") or parts.query:
        raise InvalidError("a file: address has no host and no query")
    return Address("file", "", 0, path)


def _secrets(parts: SplitResult) -> tuple[str | None, str | None]:
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    if any(not text.isprintable() for text in (user or "", password or "")) or ":" in (user or ""):
        raise InvalidError("user or password of an image's address cannot be sent")
    return user, password


def _scp(address: Address, parts: SplitResult) -> Address:
    if address.password is not None:
        raise InvalidError("an scp: address holds no password: the node has a key of its own")
    if address.user is not None and not USER.match(address.user):
        raise InvalidError("the user of an scp: address is no user's name")
    if not PLAIN.match(address.path) or parts.query:
        raise InvalidError("the path of an scp: address has letters, digits and /_.,+@=~- only")
    return address
