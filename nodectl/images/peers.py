"""What a node does with the other nodes of a launch set: lets them have images, and asks them before an image's source.

Both only where the node's configuration names its address among nodes (``peer_address``), and both as an order says:
which images, for whoever has which key, and for how long.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError, InvalidError
from flyinglow.nodectl.images import address
from flyinglow.nodectl.images.cache import Source
from flyinglow.nodectl.images.http import Web
from flyinglow.nodectl.images.listening import own_address
from flyinglow.nodectl.images.meter import Cancelled, Meter
from flyinglow.nodectl.images.shelf import Shelf
from flyinglow.nodectl.messages import Offer, Offered, Upstream, encode
from flyinglow.nodectl.vmdir import StateDir

if TYPE_CHECKING:
    from flyinglow.nodectl.images.server import Server

KEY = re.compile(r"[0-9a-f]{32,128}\Z")
DIGEST = re.compile(r"[0-9a-f]{64}\Z")
MOST_OFFERS = 256
MOST_URLS = 4  # for one image
LONGEST = 86400.0  # seconds that an offer may hold


class Peers:
    """One agent's offers and hints. Its port is open as long as an offer holds."""

    def __init__(self, config: Config, state: StateDir, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._shelf = Shelf(state)
        self._clock = clock
        self._lock = threading.Lock()
        self._offers: dict[str, tuple[frozenset[str], float]] = {}
        self._hints: list[Upstream] = []
        self._server: Server | None = None
        self._url = ""

    def offer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Let whoever has a key have images, and return the answer's body (``Offered``).

        Raises InvalidError for what is no offer, BrokenError when this node cannot listen where it is told to.
        """
        offer = read_offer(body)
        held = self._shelf.held(offer.digests)
        with self._lock:
            self._forget_old()
            if len(self._offers) >= MOST_OFFERS and offer.key not in self._offers:
                raise ExhaustedError(f"this node keeps {MOST_OFFERS} offers at once")
            self._offers[offer.key] = (frozenset(offer.digests), self._clock() + offer.seconds)
            return encode(Offered(self._listening(), held))

    @contextlib.contextmanager
    def expecting(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Use the hints of an order to create while it is carried out; gives the order without them.

        What is no hint is left out: it may be another node's doing, and the image has its source.
        """
        plain = dict(body)
        hint = _hint(plain.pop("upstream", None))
        if hint is None:
            yield plain
            return
        with self._lock:
            self._hints.append(hint)
        try:
            yield plain
        finally:
            with self._lock:
                self._hints.remove(hint)

    def ahead_of(self, source: Source, digest: str) -> Source:
        """Return where an image comes from: ``source``, or the nodes that are to be asked before it."""
        with self._lock:
            hint = next((hint for hint in reversed(self._hints) if digest in hint.urls), None)
        if hint is None:
            return source
        silence = 2 * self._config.image_timeout + 5  # longer than the first of the chain is patient with the source
        return Relayed([Web(address.read(url), silence, bearer=hint.key) for url in hint.urls[digest]], source)

    def close(self) -> None:
        """Offer nothing any more."""
        with self._lock:
            self._offers.clear()
        if self._server is not None:
            self._server.stop()

    def _listening(self) -> str:
        """Return the URL at which this node listens, listening from now on if it did not."""
        if self._server is not None and self._server.is_listening:
            return self._url
        from flyinglow.nodectl.images.handing import Handing  # noqa: PLC0415 - an agent's start does not wait for it
        from flyinglow.nodectl.images.server import Server  # noqa: PLC0415

        server = self._server = Server(self._is_wanted)
        handing = Handing(self._shelf, self._allows, lambda: server.is_stopped)
        here = own_address(self._config.peer_address)
        try:
            port = server.start(here, self._config.peer_port, handing.handler())
        except OSError as error:
            raise BrokenError(
                f"this node cannot listen at {here} (configuration keys peer_address, peer_port): {error.strerror}"
            ) from error
        self._url = f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"
        return self._url

    def _allows(self, key: str, digest: str) -> bool:
        """Tell whether a key is for an image; it takes as long for a wrong key as for a right one."""
        with self._lock:
            self._forget_old()
            known = list(self._offers.items())
        given = key.encode("utf-8", "replace")
        fits = [digests for one, (digests, _) in known if hmac.compare_digest(one.encode(), given)]
        return any(digest in digests for digests in fits)

    def _is_wanted(self) -> bool:
        with self._lock:
            self._forget_old()
            return bool(self._offers)

    def _forget_old(self) -> None:
        now = self._clock()
        self._offers = {key: offer for key, offer in self._offers.items() if offer[1] > now}


class Relayed:
    """An image that other nodes have or are getting, and its source behind them.

    Each node is asked once in the whole transfer: whatever one does wrong costs time and nothing else.
    """

    def __init__(self, peers: Sequence[Web], source: Source) -> None:
        self._peers = list(peers)
        self._source = source

    @property
    def behind(self) -> Source:
        """The image's source."""
        return self._source

    def fetch(self, part: Path, meter: Meter) -> None:
        """Append to ``part`` what it lacks; see ``Source``."""
        while self._peers:
            peer = self._peers.pop(0)
            try:
                return peer.fetch(part, meter)
            except Cancelled:
                raise
            except FlyingLowError:
                meter.check()
        return self._source.fetch(part, meter)


def read_offer(body: dict[str, Any]) -> Offer:
    """Build an Offer from its JSON form. Raises InvalidError, which shows no key."""
    key, digests, seconds = body.get("key"), body.get("digests"), body.get("seconds")
    _check_key(key)
    if set(body) - {"key", "digests", "seconds"} or not isinstance(digests, list) or not all(map(_is_digest, digests)):
        raise InvalidError("an offer has a key, the checksums of images in digests, and seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= LONGEST:
        raise InvalidError(f"an offer holds for up to {LONGEST:g} seconds, not for {seconds!r}")
    return Offer(str(key), tuple(digests), float(seconds))


def read_upstream(told: object) -> Upstream:
    """Build an Upstream from its JSON form. Raises InvalidError, which shows no key."""
    if not isinstance(told, dict) or set(told) != {"key", "urls"} or not isinstance(told["urls"], dict):
        raise InvalidError("upstream has a key, and URLs of nodes by the checksum of an image")
    _check_key(told["key"])
    for digest, urls in told["urls"].items():
        if not _is_digest(digest) or not isinstance(urls, list) or not 0 < len(urls) <= MOST_URLS:
            raise InvalidError(f"upstream names up to {MOST_URLS} URLs for each checksum")
        for url in urls:
            _check_url(url, digest)
    return Upstream(told["key"], {digest: tuple(urls) for digest, urls in told["urls"].items()})


def _hint(told: object) -> Upstream | None:
    try:
        return None if told is None else read_upstream(told)
    except InvalidError:
        return None


def _check_url(url: object, digest: str) -> None:
    """Take nothing but a node by its number: what an order names is asked by root."""
    if not address.is_node(url, f"/{digest}"):
        raise InvalidError("upstream names nodes as http://ADDRESS:PORT/SHA256")


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not KEY.match(key):
        raise InvalidError("the key of an offer is 32 to 128 hexadecimal digits")


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and DIGEST.match(text) is not None
