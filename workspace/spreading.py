"""Spread images over the nodes of a launch set: each is to leave its source about once, and pass from node to node.

Nodes that need the same image are asked first where they can be asked for it (``offer``); then each that does not have
it is told of the nodes before it in a chain (``upstream``, beside what it is to create). A node that offers nothing is
left out. Why it is a chain, and why in the order of names: docs/decisions/0016-images-pass-from-node-to-node.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog

from flyinglow.backend.api import Order, node_name
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.nodectl.images import address
from flyinglow.nodectl.messages import Offer, Offered, OrderName, Upstream, VmSpec, encode
from flyinglow.workspace.model import Workspace
from flyinglow.workspace.orders import Answer, Ask, Round

log = structlog.get_logger(__name__)

Member = tuple[Workspace, VmSpec]
Chains = Mapping[str, Mapping[str, tuple[str, ...]]]
"""By node and by an image's checksum, the URLs to ask before its source."""

BEFORE = 2  # nodes of the chain that each one is told of: one may be taken away
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Spreading:
    """Sends the offers with ``send``; ``seconds`` is how long a node may take to create, ``patience`` to answer."""

    send: Callable[[Sequence[Ask]], Round]
    seconds: float
    patience: float
    key: Callable[[], str] = field(default=lambda: secrets.token_hex(_KEY_BYTES))

    async def upstreams(self, members: Sequence[Member]) -> Mapping[str, Mapping[str, object]]:
        """Return by workspace id what stands beside its specification; nothing for those who need nobody."""
        wanted = shared(members)
        places = _places(members)
        if not wanted:
            return {}
        key = self.key()
        offers = {node: Offer(key, tuple(digests), self.seconds) for node, digests in _by_node(wanted).items()}
        asks = [
            Ask(places[node], Order(OrderName.OFFER, "", encode(offer)), self.patience)
            for node, offer in offers.items()
        ]
        offered: dict[str, Offered] = {}
        answers = self.send(asks)
        while batch := await answers.some():
            offered |= {node_name(answer.row.node or ""): _offered(answer) for answer in batch}
        planned = chains(wanted, offered)
        return {
            row.id: {"upstream": encode(Upstream(key, dict(planned[node])))}
            for row, _ in members
            if (node := node_name(row.node or "")) in planned
        }


def shared(members: Iterable[Member]) -> Mapping[str, tuple[str, ...]]:
    """Return the images that more than one node has to fetch, by checksum, with the nodes in the order of names."""
    nodes: dict[str, set[str]] = {}
    for row, spec in members:
        for disk in spec.disks:
            if disk.sha256 and is_remote(disk.source):
                nodes.setdefault(disk.sha256.lower(), set()).add(node_name(row.node or ""))
    return {digest: tuple(sorted(names)) for digest, names in sorted(nodes.items()) if len(names) > 1}


def is_remote(source: str | None) -> bool:
    """Say whether nodes have to fetch an image, into their caches."""
    return source is not None and not source.startswith("/") and urlsplit(source).scheme not in ("", "file")


def chains(wanted: Mapping[str, Sequence[str]], offered: Mapping[str, Offered]) -> Chains:
    """Return whom each node is to ask before an image's source.

    Nodes that have an image are at the heads of as many chains; without any, the first node by name is the head of one
    and asks the source.
    """
    planned: dict[str, dict[str, tuple[str, ...]]] = {}
    for digest, nodes in wanted.items():
        serving = [node for node in nodes if offered.get(node, Offered()).url]
        heads = [node for node in serving if digest in offered[node].held]
        rest = [node for node in serving if node not in heads]
        line, width = heads + rest, max(1, len(heads))
        for place, node in enumerate(line):
            before = [line[one] for one in range(place - width, -1, -width)][:BEFORE]
            if node not in heads and before:
                urls = tuple(f"{offered[one].url}/{digest}" for one in before)
                planned.setdefault(node, {})[digest] = urls
    return planned


def _by_node(wanted: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    digests: dict[str, list[str]] = {}
    for digest, nodes in wanted.items():
        for node in nodes:
            digests.setdefault(node, []).append(digest)
    return digests


def _places(members: Iterable[Member]) -> dict[str, Workspace]:
    """Return one workspace of each node; several slots of a node share its cache, so that one of them offers it."""
    return {node_name(row.node or ""): row for row, _ in members}


def _offered(answer: Answer) -> Offered:
    """Read what a node offers; one that cannot, or is of an older version, offers nothing."""
    try:
        if answer.error is not None:
            raise answer.error
        url, held = answer.body.get("url", ""), answer.body.get("held", [])
        if address.is_node(f"{url}/", "/") and isinstance(held, list):
            return Offered(url, tuple(map(str, held)))
    except FlyingLowError as error:
        log.info("a node passes no images on", node=node_name(answer.row.node or ""), reason=error.message)
    return Offered()
