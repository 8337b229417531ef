"""What an administrator can ask the running daemon: about its nodes, everybody's workspaces, and its health."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from flyinglow.backend import reach
from flyinglow.backend.abilities import Operated
from flyinglow.backend.api import NodePolicy, NodeState, node_name
from flyinglow.nodectl.errors import ConflictError, InvalidError, UnknownError
from flyinglow.nodectl.spec import INTERFACE
from flyinglow.workspace.alarm_book import alarms
from flyinglow.workspace.model import Selection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from flyinglow.backend.api import Backend, NodeView
    from flyinglow.server.nodes import NodeBook
    from flyinglow.workspace.alarm_book import Alarm
    from flyinglow.workspace.model import Workspace
    from flyinglow.workspace.ports import Store, Tx

_NODE_KEYS = frozenset({"name", "memory_mb", "cpus", "disk_mb", "networks", "reach", "policy"})
_PAGE = 1000


class AdminVerbs:
    """The verbs, by name in ``table``. Each takes the request's args and returns plain JSON types."""

    def __init__(
        self,
        store: Store,
        book: NodeBook,
        networks: Mapping[str, object],
        version: str,
        backend: Backend,
        strangers: Callable[[], list[dict[str, Any]]] = list,
        audited: Callable[[int], list[dict[str, Any]]] = lambda _: [],
    ) -> None:
        """``strangers`` returns the VMs of ours that no row tells of, ``audited`` the last lines of the audit log."""
        self._audited = audited
        self._strangers = strangers
        self._store, self._book, self._networks, self._version = store, book, networks, version
        self._backend = backend
        self.table: dict[str, Callable[[Mapping[str, Any]], Awaitable[Any]]] = {
            "node.add": self.node_add,
            "node.update": self.node_update,
            "node.remove": self.node_remove,
            "node.drain": self.node_drain,
            "node.activate": self.node_activate,
            "node.list": self.node_list,
            "workspace.list": self.workspace_list,
            "status": self.status,
            "alarm.list": self.alarm_list,
            "audit.list": self.audit_list,
            "stranger.list": self.stranger_list,
            "backend.inspect": self.backend_inspect,
            "backend.confirm": self.backend_confirm,
        }

    async def node_add(self, args: Mapping[str, Any]) -> Any:
        """Add a node that is not there yet."""
        node = self._node(args)
        if node.name in self._book.nodes:
            message = f"there is a node {node.name} already; `admin node update` changes it"
            raise ConflictError(message)
        await self._book.put(node)
        return {"name": node.name}

    async def node_update(self, args: Mapping[str, Any]) -> Any:
        """Change some facts of a node."""
        old = self._known(args)
        given = {key: value for key, value in args.items() if value is not None}
        await self._book.put(self._node({**_plain(old), **given}))
        return {"name": old.name}

    async def node_remove(self, args: Mapping[str, Any]) -> Any:
        """Remove a node that holds nothing."""
        await self._book.remove(self._known(args).name)
        return {}

    async def node_drain(self, args: Mapping[str, Any]) -> Any:
        """Let a node keep what it has and take nothing new."""
        await self._book.put(replace(self._known(args), policy=NodePolicy.DRAIN))
        return {}

    async def node_activate(self, args: Mapping[str, Any]) -> Any:
        """Let a drained node take new workspaces again."""
        await self._book.put(replace(self._known(args), policy=NodePolicy.ACTIVE))
        return {}

    async def node_list(self, args: Mapping[str, Any]) -> Any:
        """Return every node with what is free on it."""
        views: tuple[NodeView, ...] = await self._store.run(lambda tx: tx.nodes.view())
        return [{**_plain(view.node), "free": _free(view)} for view in views]

    async def workspace_list(self, args: Mapping[str, Any]) -> Any:
        """Return all owners' workspaces that are not over, those being reclaimed too; by pages, so others get turns."""
        rows: list[Workspace] = []
        while True:
            after = rows[-1].id if rows else None
            page = await self._store.run(partial(_living, after=after))
            rows += page
            if len(page) < _PAGE:
                return [_row(row) for row in rows]

    async def stranger_list(self, args: Mapping[str, Any]) -> Any:
        """Return the VMs that carry our mark and that no row tells of, as the last look at the nodes found them."""
        return self._strangers()

    async def alarm_list(self, args: Mapping[str, Any]) -> Any:
        """Return what guests were stopped from sending, the newest alarm last, of workspaces that are over, too."""
        found: list[Alarm] = await self._store.read(alarms)
        return [asdict(one) for one in found]

    async def audit_list(self, args: Mapping[str, Any]) -> Any:
        """Return the last calls in the audit log, oldest first."""
        last = args.get("last", 50)
        if not isinstance(last, int) or isinstance(last, bool) or not 0 < last <= _PAGE:
            message = f"the last 1 to {_PAGE} calls can be listed, not {last!r}"
            raise InvalidError(message)
        return self._audited(last)

    async def status(self, args: Mapping[str, Any]) -> Any:
        """Return counts by state and the version."""
        census: Mapping[str, int] = await self._store.run(lambda tx: dict(tx.workspaces.census()))
        return {"version": self._version, "workspaces": census, "nodes": len(self._book.nodes)}

    async def backend_inspect(self, args: Mapping[str, Any]) -> Any:
        """Return what the back-end holds and does: pilot jobs, slots, what it waits for."""
        return await self._operated().inspect()

    async def backend_confirm(self, args: Mapping[str, Any]) -> Any:
        """Let the back-end go on with what its mass-cancel guard holds back."""
        return await self._operated().confirm()

    def _operated(self) -> Operated:
        if not isinstance(self._backend, Operated):
            message = "this back-end has no jobs or slots to show: its nodes are its own (`flyinglow admin node list`)"
            raise ConflictError(message)
        return self._backend

    def _known(self, args: Mapping[str, Any]) -> NodeState:
        node = self._book.nodes.get(str(args.get("name")))
        if node is None:
            message = f"there is no node {args.get('name')!r}"
            raise UnknownError(message)
        return node

    def _node(self, args: Mapping[str, Any]) -> NodeState:
        if extra := set(args) - _NODE_KEYS:
            message = f"a node has no {', '.join(sorted(extra))}"
            raise InvalidError(message)
        try:
            node = NodeState(**{**args, "policy": NodePolicy(args.get("policy") or NodePolicy.ACTIVE)})
        except (TypeError, ValueError) as error:
            raise InvalidError(str(error)) from None
        return self._checked(node)

    def _checked(self, node: NodeState) -> NodeState:
        for key in ("memory_mb", "cpus", "disk_mb"):
            value = getattr(node, key)
            if not isinstance(value, int) or value < 0:
                message = f"a node's {key} must be a whole number of 0 or more, not {value!r}"
                raise InvalidError(message)
        if unknown := set(node.networks) - set(self._networks):
            message = f"the configuration has no [network.{min(unknown)}]"
            raise InvalidError(message)
        for bridge in filter(None, node.networks.values()):
            if not INTERFACE.match(bridge):
                message = f"{bridge!r} is no bridge: a name has at most 15 characters"
                raise InvalidError(message)
        reach.parse(node.reach, node.name)
        return node


def _living(tx: Tx, after: str | None) -> list[Workspace]:
    return tx.workspaces.select(Selection(living=True, after=after, limit=_PAGE))


def _plain(node: NodeState) -> dict[str, Any]:
    return {
        "name": node.name,
        "memory_mb": node.memory_mb,
        "cpus": node.cpus,
        "disk_mb": node.disk_mb,
        "networks": dict(node.networks),
        "policy": node.policy.value,
        "reach": dict(node.reach),
    }


def _free(view: NodeView) -> dict[str, int]:
    return {"memory_mb": view.free_memory_mb, "cpus": view.free_cpus, "disk_mb": view.free_disk_mb}


def _row(row: Workspace) -> dict[str, Any]:
    return {
        "tag": row.tag,
        "name": row.name,
        "owner": row.owner,
        "state": row.state.value,
        "task": row.task.value if row.task else None,
        "reason": row.reason,
        "node": node_name(row.node) if row.node else None,
        "destroyed": row.destroyed_at is not None,
        "ends_at": row.ends_at.isoformat() if row.ends_at else None,
        "attempts": row.attempts,
    }
