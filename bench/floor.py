"""The floor under SOAP: twisted.web and lxml alone, receiving and sending the same bytes as the service.

    floor.py ANSWER

prints its port, then answers every POST: the request is parsed, an answer of the same content is built and written.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

from lxml import etree
from twisted.internet import reactor as _reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

reactor: Any = _reactor
PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


class Floor(Resource):
    """Parse, build, write; nothing else."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = etree.fromstring(answer)

    def render_POST(self, request: Any) -> bytes:
        """Answer."""
        etree.fromstring(request.content.read(), PARSER)
        request.setHeader(b"content-type", b"text/xml; charset=utf-8")
        return etree.tostring(copy.deepcopy(self._answer), encoding="utf-8", xml_declaration=True)


def main() -> None:
    """Serve until killed."""
    port = reactor.listenTCP(0, Site(Floor(Path(sys.argv[1]).read_bytes())), interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
