"""Looks whether files in use have changed, every so often and at SIGHUP, so that nothing is restarted for a new one."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flyinglow.server.kept import Kept
    from flyinglow.server.listeners import Bound


class Rereading:
    """Keeps what listeners serve with as new as its files."""

    def __init__(self, bound: Iterable[Bound], reactor: Any) -> None:
        self._kept: list[Kept[Any]] = [each.secured.kept for each in bound if each.secured is not None]
        self._reactor = reactor

    def also(self, kept: Kept[Any]) -> None:
        """Keep this as new as its files, too."""
        self._kept.append(kept)

    async def look(self, *, anyway: bool = False) -> None:
        """Read anew what has changed, or all of it; on the reactor's threads."""
        for kept in self._kept:
            await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), partial(kept.look, anyway=anyway))

    def heed_hangup(self, also: Callable[[], None] = lambda: None) -> None:
        """Read all of it anew when the process gets SIGHUP, which would end it otherwise; call ``also`` before."""
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hung_up, also))

    def _hung_up(self, also: Callable[[], None]) -> None:
        also()
        Deferred.fromCoroutine(self.look(anyway=True))
