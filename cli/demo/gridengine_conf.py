"""The configuration of the demo's private Grid Engine: what any small site has, and nothing special to pilots."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HEAD = "head"
QUEUE = "batch"
PARALLEL_ENVIRONMENT = "spread"


@dataclass(frozen=True, slots=True, kw_only=True)
class GridEngineOptions:
    """How a private Grid Engine is set up; times in seconds.

    ``nodes`` are named node1 to nodeN and offer ``slots`` slots each. ``notify`` is the time from the notice to
    SIGKILL, ``notify_signal`` the notice of a ``qdel`` when it is not Grid Engine's own (USR2). ``longest`` is the
    queue's limit for jobs. ``execd_params`` are further ones.
    """

    nodes: int = 4
    slots: int = 1
    notify: int = 15
    notify_signal: str = ""
    longest: int | None = None
    execd_params: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes' names."""
        return tuple(f"node{number}" for number in range(1, self.nodes + 1))


def _time(seconds: int | None) -> str:
    return "INFINITY" if seconds is None else f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"


def bootstrap(root: Path, spool: Path, library: str) -> str:
    """Return the cell's bootstrap file: classic spooling, no administrator but root. ``library`` is a short path."""
    return f"""admin_user none
default_domain none
ignore_fqdn true
spooling_method classic
spooling_lib {library}
spooling_params {root}/default/common;{spool}/qmaster
binary_path {root}/bin
qmaster_spool_dir {spool}/qmaster
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
"""


def cluster(options: GridEngineOptions, spool: Path) -> str:
    """Return the cluster's global configuration."""
    notice = f",NOTIFY_KILL={options.notify_signal}" if options.notify_signal else ""
    further = f",{options.execd_params}" if options.execd_params else ""
    return f"""execd_spool_dir {spool}
mailer /bin/true
xterm /bin/true
load_sensor none
prolog none
epilog none
shell_start_mode unix_behavior
login_shells sh,bash
min_uid 1
min_gid 1
enforce_project false
enforce_user auto
load_report_time 00:00:02
max_unheard 00:00:10
reschedule_unknown 00:00:00
loglevel log_info
administrator_mail none
qmaster_params none
execd_params PTF_MIN_PRIORITY=0{notice}{further}
reporting_params accounting=true reporting=false flush_time=00:00:01 accounting_flush_time=00:00:00
finished_jobs 100
gid_range 65400-65500
qlogin_command builtin
qlogin_daemon builtin
rlogin_command builtin
rlogin_daemon builtin
rsh_command builtin
rsh_daemon builtin
jsv_url none
"""


def parallel_environment() -> str:
    """Return a parallel environment that gives one slot per host."""
    return f"""pe_name {PARALLEL_ENVIRONMENT}
slots 9999
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule 1
control_slaves TRUE
job_is_first_task FALSE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""


def host_group(options: GridEngineOptions) -> str:
    """Return the group of all nodes; Grid Engine refuses the name @all."""
    return f"group_name @nodes\nhostlist {' '.join(options.names)}\n"


def queue(options: GridEngineOptions, template: str, temporary: Path) -> str:
    """Return the queue: Grid Engine's ``template`` (``qconf -sq``) with what differs in ours."""
    changes = {
        "qname": QUEUE,
        "hostlist": "@nodes",
        "pe_list": PARALLEL_ENVIRONMENT,
        "load_thresholds": "NONE",  # a loaded machine would close the queue
        "slots": str(options.slots),
        "shell": "/bin/sh",
        "shell_start_mode": "unix_behavior",
        "tmpdir": str(temporary),
        "notify": _time(options.notify),
        "h_rt": _time(options.longest),
    }
    return _changed(template, changes)


def scheduler(template: str) -> str:
    """Return the scheduler's configuration: ``template`` (``qconf -ssconf``), but quick as small sites have it."""
    changes = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1"}
    return _changed(template, changes)


def _changed(template: str, changes: dict[str, str]) -> str:
    lines = template.splitlines()
    keys = [line.split(maxsplit=1)[0] if line.strip() else "" for line in lines]
    return "".join(
        f"{key} {changes[key]}\n" if key in changes else f"{line}\n" for key, line in zip(keys, lines, strict=True)
    )
