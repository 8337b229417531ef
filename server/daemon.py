"""``flyinglow serve``: starts the parts in order, keeps them going, and stops them cleanly.

Order of a start: configuration, log, root given away, sockets bound, store locked and migrated, parts composed,
reconcile begun, listeners served. A stop goes backwards and leaves VMs alone.
"""

from __future__ import annotations

import gc
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from flyinglow import __version__
from flyinglow.nodectl.errors import BrokenError
from flyinglow.server import listeners, logs, privileges
from flyinglow.server.administration.socket import AdminFactory
from flyinglow.server.administration.verbs import AdminVerbs
from flyinglow.server.admission import gate, with_roles
from flyinglow.server.audit import Audit, AuditFile
from flyinglow.server.callers.bearer import LOOK_EVERY, bearer
from flyinglow.server.callers.identification import authenticate
from flyinglow.server.callers.signers import signatures
from flyinglow.server.composition import compose, open_store
from flyinglow.server.configuration.file import load
from flyinglow.server.endpoints import endpoints
from flyinglow.server.guests.door import guest_site
from flyinglow.server.node_door import node_site
from flyinglow.server.rereading import Rereading
from flyinglow.server.services import now
from flyinglow.server.steady import steady
from flyinglow.server.timers import Timers
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.envelope import MessageLimits
from flyinglow.wsrf.transport import client_site, worker_pool
from flyinglow.wsrf.xpath.evaluator import ProcessXPath

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lxml.etree import _Element

    from flyinglow.server.composition import Parts
    from flyinglow.server.configuration.settings import Config
    from flyinglow.server.listeners import Bound
    from flyinglow.store import Store

log = logging.getLogger("flyinglow.server.daemon")

ADMIN_SOCKET = "admin.sock"
AUDIT_LOG = "audit.log"
_SETTLE_EVERY = 1.0
_SWEEP_EVERY = 1.0
_HOLD_EVERY = 10.0
_EXPIRE_SUBSCRIPTIONS_EVERY = 30.0


def serve(
    config_path: Path,
    *,
    committed: Callable[[str], None] | None = None,
    on_message: Callable[[str, _Element], None] | None = None,
) -> None:
    """Run the daemon until SIGTERM or SIGINT; blocks.

    For tests: ``committed`` hears the name of each step that was committed, ``on_message`` each request, response and
    fault detail.

    Raises InvalidError for a faulty configuration and BrokenError when a socket or the store is not to be had
    (another daemon on the same store among them).
    """
    config = load(config_path)
    logs.configure(config.server.log_format, config.server.log_level)
    privileges.drop(config.server.user, config.server.state_dir)
    try:
        config.server.state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        where = f"the state directory {config.server.state_dir} cannot be made: {error.strerror}"
        raise BrokenError(f"{where}; make it and give it to this user, or set [server] state_dir") from None
    bound = listeners.bind_all(config)
    steady(reactor)
    Daemon(config, reactor, bound, committed, on_message).run()


class Daemon:
    """One running service."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        bound: tuple[Bound, Bound, Bound],
        committed: Callable[[str], None] | None = None,
        on_message: Callable[[str, _Element], None] | None = None,
    ) -> None:
        self._config, self._reactor = config, reactor
        self._committed, self._on_message = committed, on_message
        self._client, self._node, self._guest = bound
        self._addresses = Addresses(self._client.url)
        self._database = ThreadPool(2, 8, "store")
        self._workers = worker_pool(config.server.threads)
        self._timers = Timers(reactor)
        self._audit_file = AuditFile(config.audit.file or config.server.state_dir / AUDIT_LOG, config.audit.sync)
        self._audit = Audit(self._audit_file.write)
        self._tokens = bearer(config.issuer, reactor, now)
        self._rereading = Rereading(bound, reactor)
        self._xpath = ProcessXPath()
        self._ports: list[Any] = []
        self._broken: BrokenError | None = None

    def run(self) -> None:
        """Start, serve, stop. Raises BrokenError when it could not start, or lost the store meanwhile."""
        store = open_store(self._config, reactor=self._reactor, threads=self._database, committed=self._committed)
        urls = {"client": self._client.url, "node": self._node.url, "guest": self._guest.url}
        parts = compose(self._config, store, self._reactor, self._addresses, self._committed, urls)
        self._reactor.callWhenRunning(lambda: Deferred.fromCoroutine(self._start(parts)).addErrback(self._failed))
        self._reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(self._stop(parts)))
        self._reactor.run()
        store.close()
        self._audit_file.close()
        if self._broken is not None:
            raise self._broken

    def _failed(self, failure: Any) -> None:
        self._broken = BrokenError(f"the service could not start: {failure.value}")
        self._broken.__cause__ = failure.value
        self._reactor.stop()

    async def _hold(self, store: Store) -> None:
        """Stop the service when the store is no longer its own: a second one may be at work on it by now."""
        if not await deferToThreadPool(self._reactor, self._database, store.still_locked) and self._broken is None:
            self._broken = BrokenError(
                "the store's lock was lost (was its database restarted?); start the service again"
            )
            log.critical("the store's lock was lost; stopping, for another service may use the store now")
            self._reactor.stop()

    async def _start(self, parts: Parts) -> None:
        self._database.start()
        self._workers.start()
        parts.notifying.lookups.start()
        self._rereading.also(parts.notifying.tls)
        self._listen(parts)
        await parts.notifying.courier.start()
        parts.notifying.drainer.start()
        self._timers.every(self._config.server.reconcile_every, "reconcile", parts.provisioner.reconcile)
        self._timers.every(_SWEEP_EVERY, "sweep", parts.sweeper.run)
        for name, expire in (
            ("subscriptions", parts.services.subscriptions.expire),
            ("pull points", parts.services.pulls.expire),
        ):
            self._timers.every(_EXPIRE_SUBSCRIPTIONS_EVERY, name, partial(parts.store.run, expire))
        self._timers.every(_HOLD_EVERY, "store lock", lambda: self._hold(parts.store))
        self._timers.every(self._config.listen.client.reload_every, "changed files", self._rereading.look)
        self._timers.every(_SETTLE_EVERY, "audit log", self._settle_audit)
        self._rereading.heed_hangup(self._audit_file.reopen)
        for issuer, look in self._tokens.looks.items() if self._tokens else ():
            self._timers.every(LOOK_EVERY, f"keys of {issuer}", look)
        # what lives now lives as long as the daemon: the collector need not look at it again
        gc.collect()
        gc.freeze()
        log.info("serving", extra={"url": self._client.url, "version": __version__})

    async def _settle_audit(self) -> None:
        await deferToThreadPool(self._reactor, self._database, self._audit_file.settle)

    def _heard(self, verb: str, args: Mapping[str, Any], outcome: str, peer: str) -> None:
        self._audit.verb(verb, args, outcome, at=now(), peer=peer)

    def _listen(self, parts: Parts) -> None:
        listener = self._client.listener
        message_limits = MessageLimits(
            depth=listener.max_depth, elements=listener.max_elements, headers=listener.max_headers
        )
        admitted = gate(self._config, self._reactor)
        site = client_site(
            endpoints(
                parts.services,
                self._addresses,
                now,
                message_limits,
                self._xpath,
                self._on_message,
                audit=self._audit.call,
                signatures=signatures(self._config, self._client.secured, self._addresses, admitted.caller),
            ),
            reactor=self._reactor,
            pool=self._workers,
            addresses=self._addresses,
            limits=listeners.limits(listener),
            authenticate=with_roles(self._config, authenticate(self._config, self._client.secured, self._tokens)),
            gate=admitted,
        )
        self._ports.append(self._client.serve(self._reactor, site))
        pilots = node_site(parts.backend, self._node.listener, self._reactor)
        self._ports.append(self._node.serve(self._reactor, pilots))
        guests = guest_site(parts.desk, self._guest.listener, self._reactor)
        self._ports.append(self._guest.serve(self._reactor, guests))
        self._ports.append(self._listen_admin(parts))

    def _listen_admin(self, parts: Parts) -> Any:
        path = self._config.server.state_dir / ADMIN_SOCKET
        path.unlink(missing_ok=True)  # a killed daemon leaves it behind; the store's lock says that none runs
        verbs = AdminVerbs(
            parts.store,
            parts.book,
            self._config.network,
            __version__,
            parts.backend,
            parts.provisioner.strangers,
            self._audit_file.last,
        )
        return self._reactor.listenUNIX(str(path), AdminFactory(verbs.table, self._heard), mode=0o600)

    async def _stop(self, parts: Parts) -> None:
        log.info("stopping; VMs are left as they are")
        for port in self._ports:
            await port.stopListening()
        parts.desk.close()
        await self._timers.stop()
        parts.provisioner.stop()
        await parts.notifying.drainer.stop()
        await parts.notifying.courier.stop()
        await parts.notifying.sender.close()
        await parts.backend.close()
        for pool in (self._workers, parts.notifying.lookups, self._database):
            pool.stop()
        self._xpath.close()
        parts.notifying.filters.close()
        parts.notifying.checks.close()
