"""The terms on which a site leases workspaces: durations, lead times and what it shows; all of them configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareTerms:
    """What of its nodes' hardware a site offers; ``devices`` are kinds, and the most of each that one node has."""

    dedicated_cpus: bool = False
    numa_nodes: int = 0
    huge_pages: bool = False
    devices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """One site's terms. Every figure is in seconds unless its name says otherwise.

    ``default_duration`` is granted to a Create that names none, ``max_duration`` bounds a lease from the moment it was
    accepted, extensions included. ``warn_before`` is the lead of the warning event, ``retain`` how long a lease that is
    over stays readable, ``open_limit`` how long an ensemble may stay open, ``max_wait`` bounds a start-by deadline.
    ``keep_events`` is how long an event that was delivered stays in the outbox. ``save_rate`` (MB/s) and
    ``save_margin`` say how long before its end a lease begins to save a disk, ``save_retry`` is the pause after one
    that failed.
    ``show_node`` says whether a lessee may see on which node a workspace is, ``reports`` whether guests can report to a
    context endpoint.
    """

    default_duration: int = 3600
    max_duration: int = 7 * 86400
    warn_before: int = 300
    retain: int = 3600
    open_limit: int = 3600
    keep_events: int = 7 * 86400
    max_wait: int = 30 * 86400
    save_rate: float = 20.0
    save_margin: int = 120
    save_retry: int = 30
    show_node: bool = True
    reports: bool = False
    hardware: HardwareTerms = field(default_factory=HardwareTerms)
