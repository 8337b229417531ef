"""How a node stands: its memory, the slots that are held, and its VMs. Looking changes nothing and waits for nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flyinglow.nodectl import strangers
from flyinglow.nodectl.compose import node_of, slots_of
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.messages import encode


def status(config: Config) -> dict[str, Any]:
    """Return all there is to say. Raises BrokenError when the books or the memory's driver cannot be read."""
    node = node_of(config)
    slots = slots_of(config, node)
    ledger = slots.book.read()
    now = slots.memory.read()
    own = now.own_mb
    base = ledger.base.own_mb if ledger.base is not None else own
    tags: dict[str | None, list[str]] = {}
    for vm in node.state.vms():
        tags.setdefault(vm.slot, []).append(vm.tag)
    memory = {
        "driver": config.memory,
        "base_mb": base,
        "target_mb": ledger.target_mb(base),
        "actual_mb": own,
        "minimum_mb": config.minimum_node_mb,
        "settled": -now.grain_mb <= own - ledger.target_mb(base) <= 1,
    }
    held = [
        {
            "slot": entry.spec.slot,
            "memory_mb": entry.taken_mb,
            "cpus": entry.spec.cpus,
            "pid": entry.holder.pid,
            "alive": entry.alive,
            "ending": entry.ending,
            "vms": tags.get(entry.spec.slot, []),
        }
        for entry in ledger.slots
    ]
    vms = [{**encode(info), "slot": node.state.vm(info.tag).slot} for info in node.list()]
    nobodys = [one.words for one in strangers.found(config)]
    parts = {"memory": memory, "cpus": slots.limits.cpus, "slots": held, "vms": vms, "strangers": nobodys}
    return {"node": config.node, **parts}


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what people read of it."""
    memory = found["memory"]
    yield (
        f"{found['node']}: own share {memory['actual_mb']} of {memory['base_mb']} MiB, is to be "
        f"{memory['target_mb']}, never below {memory['minimum_mb']} ({memory['driver']}); {found['cpus']} CPUs"
    )
    if not (found["slots"] or found["vms"]):
        yield "no slots, no VMs"
    for slot in found["slots"]:
        holder = f"process {slot['pid']}" if slot["alive"] else "its process is gone"
        word = ", is being given back" if slot["ending"] else ""
        text = f"slot {slot['slot']}: {slot['memory_mb']} MiB, {slot['cpus']} CPUs, {holder}{word}: "
        yield text + (" ".join(slot["vms"]) or "no VMs")
    for vm in found["vms"]:
        words = [vm["tag"], vm["status"], "ready" if vm["ready"] else "", vm["progress"] or vm["reason"]]
        words += [f"dropped {kind}: {count}" for kind, count in sorted(vm["dropped"].items())]
        yield "  ".join(word for word in words if word)
    for stranger in found["strangers"]:
        yield f"stranger  {stranger}; {strangers.FIX}"
