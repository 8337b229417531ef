"""Runs ``flyinglow serve`` with one more verb on the admin socket, which measures orders where they are sent.

    probed.py CONFIG

``bench.round {"places": [...], "times": N}`` sends one order to every place at once, waits for all answers, and so
again; it answers with the seconds of each round. Nothing else is different from the service as it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from flyinglow.backend.api import Order
from flyinglow.nodectl.messages import OrderName
from flyinglow.server import daemon
from flyinglow.server.administration.verbs import AdminVerbs

_LIST = Order(OrderName.LIST, None)


class ProbedVerbs(AdminVerbs):
    """The service's verbs and one more."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.table["bench.round"] = self.round

    async def round(self, args: Mapping[str, Any]) -> Any:
        """Send an order to all places at once and wait for all answers, several times over."""
        channels = [self._backend.channel(place) for place in args["places"]]
        return [await _round(channels) for _ in range(int(args["times"]))]


async def _round(channels: list[Any]) -> float:
    began = time.perf_counter()
    await gatherResults([Deferred.fromCoroutine(channel.send(_LIST, 20)) for channel in channels])
    return time.perf_counter() - began


def main() -> None:
    """Serve."""
    daemon.AdminVerbs = ProbedVerbs  # type: ignore[misc]
    daemon.serve(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
