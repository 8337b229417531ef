"""The configuration files of the demo's private Slurm: what any small site has, and nothing special to pilots."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flyinglow.cli.demo.furnishing import HEAD_ADDRESS, address

if TYPE_CHECKING:
    from pathlib import Path

Proctrack = Literal["linuxproc", "cgroup"]

PREEMPTION = (
    "PreemptType=preempt/partition_prio",
    "PreemptMode=CANCEL",
    "PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP",
)
"""Further lines with which jobs of the partition ``urgent`` take the nodes of those in ``batch``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmOptions:
    """How a private Slurm is set up. Times are seconds, memory MB.

    ``nodes`` are named node1 to nodeN. ``partition`` is the rest of the line of the default partition, ``batch``;
    ``lines`` are further lines of slurm.conf. ``slurm_user`` other than root makes that user Slurm's operator.
    """

    nodes: int = 4
    memory_mb: int = 2000
    cpus: int = 2
    kill_wait: int = 30
    proctrack: Proctrack = "linuxproc"
    scheduler: str = "bf_interval=2,sched_min_interval=0,batch_sched_delay=0"
    partition: str = "MaxTime=INFINITE"
    lines: tuple[str, ...] = ()
    slurm_user: str = "root"
    down_after: int = 20  # a node that is silent so long is down

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes' names."""
        return tuple(f"node{number}" for number in range(1, self.nodes + 1))


def cgroup_conf(mountpoint: str) -> str:
    """Return the text of cgroup.conf; without the plugin's name slurmd wants a mounted /sys/fs/cgroup of its liking."""
    return f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={mountpoint}\n"


def slurm_conf(options: SlurmOptions, root: Path) -> str:
    """Return the text of slurm.conf for a Slurm whose files lie below ``root``."""
    lines = [
        "ClusterName=flyinglow",
        f"SlurmctldHost=head({HEAD_ADDRESS})",
        f"SlurmUser={options.slurm_user}",
        f"AuthInfo=socket={root}/munge/sock",
        f"StateSaveLocation={root}/state",
        f"SlurmdSpoolDir={root}/spool/%n",
        f"SlurmctldPidFile={root}/state/slurmctld.pid",
        f"SlurmdPidFile={root}/run/slurmd.%n.pid",
        f"SlurmctldLogFile={root}/state/slurmctld.log",
        f"SlurmdLogFile={root}/log/slurmd.%n.log",
        f"ProctrackType=proctrack/{options.proctrack}",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/none",
        "AccountingStorageType=accounting_storage/none",
        "MpiDefault=none",
        "SelectType=select/linear",
        "SelectTypeParameters=CR_Memory",
        "ReturnToService=2",
        "SlurmdParameters=config_overrides",  # the nodes' memory and CPUs are said, not found
        "PropagateResourceLimits=NONE",
        f"SchedulerParameters={options.scheduler}",
        f"KillWait={options.kill_wait}",
        f"SlurmdTimeout={options.down_after}",
        "UnkillableStepTimeout=120",
        # jobs of two private Slurms on one machine never share a number, hence never a control group
        f"FirstJobId={random.randrange(1, 50_000) * 1000}",  # noqa: S311 - no secret
        *_node_lines(options),
        f"PartitionName=batch Nodes=ALL Default=YES State=UP {options.partition}",
        *options.lines,
    ]
    return "\n".join(lines) + "\n"


def _node_lines(options: SlurmOptions) -> list[str]:
    size = f"CPUs={options.cpus} RealMemory={options.memory_mb} State=UNKNOWN"
    return [f"NodeName={name} NodeAddr={address(number)} {size}" for number, name in enumerate(options.names, 1)]
