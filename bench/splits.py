"""How the time of a lease is split, as the paper's Figures 2 to 5 split it. Pure; all times are seconds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from records import Pilot, Vm


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One lease from its request to the end of its slots, as it was seen: by the client, the service and the pilots.

    ``sent`` is when the client sent Create, ``told`` when the message came that a workspace runs, for each, and
    ``ended`` when the client sent Destroy: seconds since 1970, on the one clock that all machines of the rig share.
    """

    size: int
    sent: float
    told: Mapping[str, float]
    ended: float
    vms: Sequence[Vm]
    pilots: Sequence[Pilot]

    @property
    def accepted(self) -> float:
        """When the request was committed."""
        return min(vm.accepted for vm in self.vms)

    @property
    def adapted(self) -> float:
        """When the last pilot's report that its slot is ready was stored."""
        return max(pilot.reports["ready"].stored for pilot in self.pilots)

    @property
    def total(self) -> float:
        """From Create to the message that the last workspace runs."""
        return max(self.told.values()) - self.sent

    @property
    def slots(self) -> float:
        """From Create to the last pilot's being ready."""
        return self.adapted - self.sent


Split = Mapping[str, float]


def end_to_end(cycle: Cycle) -> Split:
    """Figure 2. The three parts make up the whole: they are of the last slot and the last message."""
    return {
        "slot": cycle.adapted - cycle.accepted,
        "vms": max(cycle.told.values()) - cycle.adapted,
        "processing": cycle.accepted - cycle.sent,
    }


def slot(cycle: Cycle) -> Split:
    """Figure 3: means over the nodes."""
    begun = {pilot.slot: _begun(pilot) for pilot in cycle.pilots}
    ready = {pilot.slot: pilot.reports["ready"] for pilot in cycle.pilots}
    return {
        "LRM": _mean([at - cycle.accepted for at in begun.values()]),
        "pilot": _mean([ready[key].sent - at for key, at in begun.items()]),
        "ping": _mean([report.stored - report.sent for report in ready.values()]),
    }


def vms(cycle: Cycle) -> Split:
    """Figure 4: means over the VMs, without LRM and pilots."""
    create = {vm.key: sum(vm.seconds.values()) for vm in cycle.vms}
    return {
        "invoke": _mean([vm.started - cycle.adapted - create[vm.key] for vm in cycle.vms]),
        "create": _mean(list(create.values())),
        "post": _mean([cycle.told[vm.key] - vm.started for vm in cycle.vms]),
    }


def destruction(cycle: Cycle) -> Split:
    """Figure 5: the first part to the last VM's end, the others means over the nodes."""
    gone = max(vm.finished or 0.0 for vm in cycle.vms)
    told = {pilot.slot: pilot.reports["releasing"].sent for pilot in cycle.pilots}
    over = {pilot.slot: pilot.reports["released"].stored for pilot in cycle.pilots}
    return {
        "destroy": gone - cycle.ended,
        "signal": _mean([at - gone for at in told.values()]),
        "restore": _mean([over[key] - at for key, at in told.items()]),
    }


def _begun(pilot: Pilot) -> float:
    """Return when the pilot's program began: it tells in its first report for how long it has been up."""
    hello = pilot.reports["hello"]
    return hello.sent - float(hello.body["seconds_up"])


@dataclass(frozen=True, slots=True)
class Stat:
    """A mean, its standard deviation, and of how many values."""

    mean: float
    deviation: float
    count: int


def stat(values: Sequence[float]) -> Stat:
    """Return mean and standard deviation."""
    return Stat(_mean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))


def stats(splits: Sequence[Split]) -> dict[str, Stat]:
    """Return the statistics of each part of the splits, and of their sum."""
    parts = {part: stat([split[part] for split in splits]) for part in splits[0]}
    return {**parts, "sum": stat([sum(split.values()) for split in splits])}


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)
