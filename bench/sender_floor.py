"""The floor under Notify: Twisted's HTTP client alone, posting the same bytes to the same consumers.

    sender_floor.py BODY MESSAGES URL...

posts the body MESSAGES times to each URL, one request at a time for each, over connections that are kept; prints the
seconds it took.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers

reactor: Any = _reactor
HEADERS = Headers({"Content-Type": ["text/xml; charset=utf-8"], "User-Agent": ["floor"]})


async def line(agent: Agent, url: bytes, body: Path, count: int) -> None:
    """Post to one consumer."""
    for _ in range(count):
        with body.open("rb") as content:
            response: Any = await agent.request(b"POST", url, HEADERS, FileBodyProducer(content))  # type: ignore[no-untyped-call]
        await readBody(response)


async def run() -> None:
    """Post to all."""
    body, count, urls = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    pool = HTTPConnectionPool(reactor)
    agent = Agent(reactor, pool=pool)
    began = time.monotonic()
    await gatherResults([Deferred.fromCoroutine(line(agent, url.encode(), body, count)) for url in urls])
    print(time.monotonic() - began, flush=True)
    reactor.stop()


if __name__ == "__main__":
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
    reactor.run()
