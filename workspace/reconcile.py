"""The reconcile pass: look at every node and claim once, compare with the rows, take up what is unfinished.

Start-up runs the same pass as the timer (design, section 6). One bad row never stops it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from twisted.internet.defer import DeferredSemaphore

from flyinglow.backend.api import Observation, Order
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.nodectl.messages import OrderName, VmInfo
from flyinglow.workspace.alarm import raise_alarm
from flyinglow.workspace.crew import Crew, Stopped
from flyinglow.workspace.model import Selection, Workspace
from flyinglow.workspace.observe import Change, Finding, by_tag, finding, shared, sighting, write_down
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import Task
from flyinglow.workspace.transfers import Pace

CHUNK = 200  # rows of one transaction
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """What a pass saw and did.

    ``reaped`` counts the strays that it began to destroy, ``silent`` maps nodes that did not answer to why.
    """

    rows: int
    unfinished: int
    changed: int
    reaped: int
    silent: dict[str, str]


class Reconcile:
    """Compares what is with what is written.

    ``seconds`` is a monotonic clock; ``spawn`` sees a coroutine through beside the pass.
    """

    def __init__(
        self, crew: Crew, seconds: Callable[[], float], spawn: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._crew = crew
        self._seconds = seconds
        self._spawn = spawn
        self._strays: dict[tuple[str, str], float] = {}  # (node, tag) -> first seen
        self._reaping: set[tuple[str, str]] = set()
        self._quiet: set[str] = set()
        self._pace = Pace(seconds)
        self._width = DeferredSemaphore(crew.timing.per_node)

    def strangers(self) -> list[dict[str, Any]]:
        """Return the VMs that carry our mark and have no row: where, since when, and when they are destroyed."""
        now, grace = self._seconds(), self._crew.timing.stray_grace
        return [
            {"node": node, "tag": tag, "seen_for": round(now - since), "ends_in": round(max(0.0, since + grace - now))}
            for (node, tag), since in sorted(self._strays.items())
        ]

    async def run(self) -> tuple[ReconcileReport, list[str]]:
        """Make one pass; return also the ids of the workspaces that have a task, for their steps to be taken up."""
        rows: list[Workspace] = await self._crew.store.read(lambda tx: tx.workspaces.select(Selection(living=True)))
        seen = shared(rows, await self._look(rows))
        vms = by_tag(seen)
        findings = [found for row in rows if (found := _try(row, seen, vms)) is not None]
        for start in range(0, len(findings), CHUNK):
            await self._write(findings[start : start + CHUNK])
        await self._wrest([found.workspace_id for found in findings if found.change is Change.TAKEN])
        unfinished = [row.id for row in rows if row.task is not None]
        report = ReconcileReport(
            rows=len(rows),
            unfinished=len(unfinished),
            changed=len(findings),
            reaped=await self._reap(seen, {row.tag for row in rows}),
            silent=dict(seen.silent),
        )
        self._log_silence(report.silent)
        return report, unfinished

    def _log_silence(self, silent: Mapping[str, str]) -> None:
        """Write a line when a node falls silent, and one when it speaks again; not one a pass."""
        for node in sorted(silent.keys() - self._quiet):
            log.warning("a node does not answer", node=node, error=silent[node])
        for node in sorted(self._quiet - silent.keys()):
            log.info("a node answers again", node=node)
        self._quiet = set(silent)

    async def news(self, told: Sequence[tuple[str, VmInfo]]) -> None:
        """Write down what nodes said unasked, in the order in which they said it."""
        for start in range(0, len(told), CHUNK):
            chunk = told[start : start + CHUNK]
            loud = self._pace.due(info for _, info in chunk)
            each = [partial(self._told, [item], loud) for item in chunk]
            await self._one_by_one(each, partial(self._told, chunk, loud))

    async def _look(self, rows: Sequence[Workspace]) -> Observation:
        try:
            return await self._crew.backend.reconcile(sorted({row.launch_set for row in rows}))
        except FlyingLowError as error:
            log.warning("the back-end could not be observed", error=error.message)
            return Observation()

    async def _write(self, findings: Sequence[Finding]) -> None:
        await self._one_by_one([partial(self._found, [one]) for one in findings], partial(self._found, findings))

    async def _wrest(self, taken: Sequence[str]) -> None:
        """Let nobody wait for orders to places that are gone."""
        if taken:
            rows = await self._crew.store.read(lambda tx: tx.workspaces.select(Selection(ids=tuple(taken))))
            self._crew.wrest({row.id: row.launch_set for row in rows if row.task is Task.RECLAIMING})

    async def _one_by_one(self, each: Sequence[Callable[[Tx], None]], together: Callable[[Tx], None]) -> None:
        """Commit all in one transaction; where that fails, each in its own, so that a bad row stops only itself."""
        try:
            await self._crew.commit("observe.found", together)
        except Stopped:
            raise
        except Exception:
            log.exception("what was observed could not be written down together")
            for one in each:
                await self._alone(one)

    async def _alone(self, one: Callable[[Tx], None]) -> None:
        try:
            await self._crew.commit("observe.found", one)
        except Stopped:
            raise
        except Exception:
            log.exception("what was observed of one workspace could not be written down")

    def _found(self, findings: Sequence[Finding], tx: Tx) -> None:
        now = self._crew.now()
        for found in findings:
            write_down(tx, found, now)

    def _told(self, told: Sequence[tuple[str, VmInfo]], loud: frozenset[str], tx: Tx) -> None:
        now = self._crew.now()
        tags = tuple({info.tag for _, info in told})
        ids = {row.tag: row.id for row in tx.workspaces.select(Selection(tags=tags))}
        for node, info in told:
            row = tx.workspaces.get(ids[info.tag]) if info.tag in ids else None
            if row is not None and row.node == node and info.alarm:
                row = raise_alarm(tx, row, info, now)
            found = sighting(row, info) if row is not None and row.node == node else None
            if found is not None:
                write_down(tx, found, now, tell=info.tag in loud)

    async def _reap(self, seen: Observation, known: set[str]) -> int:
        """Begin to destroy VMs that carry our mark, have no row that lives, and were seen so for the grace period."""
        tags = tuple({info.tag for infos in seen.vms.values() for info in infos} - known)
        young = await self._crew.store.read(lambda tx: _living(tx, tags)) if tags else set()
        found = {
            (node, info.tag) for node, infos in seen.vms.items() for info in infos if info.tag in set(tags) - young
        }
        now = self._seconds()
        silent = {key: since for key, since in self._strays.items() if key[0] not in seen.vms}
        self._strays = silent | {key: self._strays.get(key, now) for key in found}
        due = [key for key in found - self._reaping if now - self._strays[key] >= self._crew.timing.stray_grace]
        for node, tag in sorted(due):
            self._reaping.add((node, tag))
            self._spawn(self._destroy(node, tag))
        return len(due)

    async def _destroy(self, node: str, tag: str) -> None:
        """Destroy one stray in its turn; one that stays is found again by the next pass."""
        await self._width.acquire()
        try:
            if not self._crew.stopped:
                await self._crew.backend.channel(node).send(Order(OrderName.DESTROY, tag), self._crew.timing.destroy)
                self._strays.pop((node, tag), None)
                log.warning("a VM without a row was destroyed", node=node, tag=tag)
        except FlyingLowError as error:
            log.warning("a VM without a row could not be destroyed", node=node, tag=tag, error=error.message)
        finally:
            self._width.release()
            self._reaping.discard((node, tag))


def _living(tx: Tx, tags: tuple[str, ...]) -> set[str]:
    return {row.tag for row in tx.workspaces.select(Selection(tags=tags, living=True))}


def _try(row: Workspace, seen: Observation, vms: Mapping[tuple[str, str], VmInfo]) -> Finding | None:
    try:
        return finding(row, seen, vms)
    except Exception:
        log.exception("a workspace could not be compared with its node", tag=row.tag)
        return None
