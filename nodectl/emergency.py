"""Clean a node up, without the service and without a network: all of it, or what is left of agents that are gone.

``kill_all`` is the paper's "kill all" (section 3.2): whoever gives it wants the node back, now. It ends the agents that
hold slots, waits for nobody's lock longer than a moment, and kills where ``destroy`` would ask first.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from flyinglow.nodectl import processes, strangers
from flyinglow.nodectl.compose import hypervisor_of, node_of, slots_of
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.nodectl.node import Node
from flyinglow.nodectl.slots.taking import Slots

PATIENCE = 0.5  # seconds that somebody may hold on to a lock


def kill_all(config: Config) -> dict[str, Any]:
    """Remove every VM of this node and what serves them, forget every slot, restore all memory. Safe to repeat.

    What resists does not keep the rest; it is named in the answer: ``{"destroyed": [tags], "failed": [sentences],
    "slots": [ids], "memory_mb": the node's own share}``.
    """
    driver = hypervisor_of(config)
    node = dataclasses.replace(node_of(config, patience=PATIENCE), hypervisor=driver)
    slots = slots_of(config, node)
    failed: list[str] = []
    with _noting(failed):
        _end_holders(slots)
    with _noting(failed):
        failed += driver.end_strays(node.state)
    with _noting(failed):
        node.networks.detach_all()
    destroyed, resisting = node.end(node.state.vms())
    failed += resisting
    with _noting(failed):
        failed += driver.end_strays(node.state)  # what somebody began meanwhile
    with _noting(failed):
        failed += strangers.remove(config, node, running=False)[1]
    ids: list[str] = []
    own = 0
    if not failed:  # memory under a running VM is not to be given away
        with _noting(failed):
            ids = slots.clear(config.base_mb)
    with _noting(failed):
        own = slots.memory.read().own_mb
    node.state.tidy()
    return {"destroyed": destroyed, "failed": failed, "slots": ids, "memory_mb": own}


def tidy(config: Config) -> dict[str, Any]:
    """Undo the slots whose agents are gone, and nothing else: safe while other slots live. For a job's epilog.

    What no directory of a VM answers for goes with them (``strangers``).
    Answers ``{"slots": [ids], "strangers": [sentences], "failed": [sentences]}``.
    """
    node: Node = node_of(config)
    ended, failed = slots_of(config, node).sweep()
    gone: list[str] = []
    with _noting(failed):
        gone, resisting = strangers.remove(config, node)
        failed += resisting
    node.state.tidy()
    return {"slots": ended, "strangers": gone, "failed": failed}


def _end_holders(slots: Slots) -> None:
    """End the agents that hold slots, which would go on making VMs in them."""
    marks = [entry.holder for entry in slots.book.read().slots]
    processes.end_all([mark for mark in marks if mark != slots.me])


@contextlib.contextmanager
def _noting(failed: list[str]) -> Iterator[None]:
    try:
        yield
    except FlyingLowError as error:
        failed.append(error.message)
