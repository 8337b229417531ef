"""How long the provisioner waits for what: all of it configuration, all in seconds unless the name says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from flyinglow.nodectl.messages import OrderName


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A node's time to answer each order, how much it is sent at once, and how failures are retried.

    ``grace`` is a guest's own time to shut down, ``tries`` how often a request of the lessee is sent to a silent node
    before it is given up, ``stray_grace`` how long a VM without a row is left alone before it is destroyed.
    """

    create: float = 600
    start: float = 60
    operation: float = 60
    shutdown: float = 90
    save: float = 3600
    destroy: float = 60
    info: float = 15
    grace: float = 30
    per_node: int = 16  # orders under way on one node, as many as it works on at once; destroys counted apart
    tries: int = 3
    retry_first: float = 1
    retry_most: float = 300
    stray_grace: float = 60

    def of(self, order: OrderName) -> float:
        """Return a node's time to answer an order."""
        return {
            OrderName.CREATE: self.create,
            OrderName.START: self.start,
            OrderName.SHUTDOWN: self.shutdown,
            OrderName.SAVE: self.save,
            OrderName.DESTROY: self.destroy,
            OrderName.INFO: self.info,
            OrderName.LIST: self.info,
        }.get(order, self.operation)

    def backoff(self, attempts: int) -> float:
        """Return the wait after this many failures in a row: doubled each time, up to ``retry_most``."""
        return min(self.retry_most, self.retry_first * 2.0 ** min(max(attempts - 1, 0), 30))
