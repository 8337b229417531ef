"""``flyinglow doctor`` for the back-end ``lrm``: its options, the batch scheduler, and the times that must fit.

Nothing is submitted here; ``doctor_job`` does that when it is asked for.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flyinglow.backend.lrm import adapters
from flyinglow.backend.lrm.policy import load
from flyinglow.backend.lrm.settings import options as lrm_options
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.server.doctor.commands import Commands
from flyinglow.server.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flyinglow.backend.lrm.api import Queue, Survey
    from flyinglow.backend.lrm.settings.options import LrmOptions
    from flyinglow.server.configuration.settings import Config, NodeListener
    from flyinglow.server.doctor.commands import Scheduler

NOTICES = {
    "slurm": "KillWait in slurm.conf",
    "gridengine": "the queue's notify (qconf -mq QUEUE)",
    "pbs": "kill_delay (qmgr -c 'set queue QUEUE kill_delay = SECONDS')",
}
"""What an administrator sets so that jobs have longer between the notice and SIGKILL."""
_WORDS = "correct [backend.options]"


def understood(config: Config) -> tuple[LrmOptions, Scheduler]:
    """Read the back-end's options and make its commands. Raises FlyingLowError for what cannot be meant."""
    options = lrm_options.options({"max_members": config.lease.max_members, **config.backend.options})
    load(options.policy, options.policy_options)
    options.authority()
    terms = options.terms()
    commands = Commands(adapters.adapter(options), terms.environment, options.command_timeout, config.server.user)
    return options, commands


def static(config: Config) -> Iterator[Finding]:
    """Look at everything that shows without a job; the last finding is not ``ok`` where the rest makes no sense."""
    try:
        options, scheduler = understood(config)
    except FlyingLowError as error:
        yield Finding("lrm options", ok=False, detail=error.message, fix=_WORDS)
        return
    detail = f"{options.lrm}, policy {options.policy}, memory policy {options.memory_policy}"
    yield Finding("lrm options", ok=True, detail=detail)
    yield from around(config, options)
    yield from survey(options, scheduler)


def around(config: Config, options: LrmOptions) -> Iterator[Finding]:
    """Look at what the options must fit: the node listener and the networks."""
    yield _reached(config.listen.node, options)
    for name in sorted(set(config.network) - set(options.networks)):
        fix = f'name its bridge on the nodes: [backend.options.networks] {name} = "BRIDGE", or false for user mode'
        yield Finding(f"network {name}", ok=False, detail="no node carries it, so nobody can lease on it", fix=fix)
    for name in sorted(set(options.networks) - set(config.network)):
        yield Finding(f"network {name}", ok=False, detail="has a bridge but no addresses", fix=f"add [network.{name}]")


def told(listener: NodeListener, options: LrmOptions) -> str:
    """Return the URL that pilots are told, as far as the configuration says it."""
    scheme = "https" if listener.certificate else "http"
    host = f"[{listener.address}]" if ":" in listener.address else listener.address
    return (options.url or listener.base_url or f"{scheme}://{host}:{listener.port}").rstrip("/")


def _reached(listener: NodeListener, options: LrmOptions) -> Finding:
    url, name = told(listener, options), "node listener"
    fix = "set [listen.node] address to one that nodes reach, or 'url' of [backend.options] to what leads to it"
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None and (address.is_loopback or address.is_unspecified):
        return Finding(name, ok=False, detail=f"pilots are told {url}, which leads no node to this machine", fix=fix)
    if not url.startswith("https:"):
        return Finding(name, ok=True, detail=f"{url}; without TLS: the network can read reports, slots' keys included")
    return Finding(name, ok=True, detail=f"{url}; TLS" + ("" if options.certificate else _PUBLIC))


_PUBLIC = ", which pilots hold against the nodes' own authorities, as no 'certificate' is among the options"


def survey(options: LrmOptions, scheduler: Scheduler) -> Iterator[Finding]:
    """Ask the scheduler about itself."""
    try:
        found = scheduler.survey()
    except FlyingLowError as error:
        fix = f"the service's user must be able to run {options.lrm}'s commands; see 'commands' and 'environment'"
        yield Finding("scheduler", ok=False, detail=error.message, fix=fix)
        return
    yield Finding("scheduler", ok=True, detail=found.version or options.lrm)
    yield _queue(options, found)
    for text in found.findings:
        fault, _, mend = text.partition("; ")
        yield Finding("scheduler's setup", ok=False, detail=fault, fix=mend or "see docs/administration/lrm.md")
    yield _grace(options, found)


def _queue(options: LrmOptions, found: Survey) -> Finding:
    wanted = [queue for queue in found.queues if _is_meant(queue, options)]
    if not wanted:
        names = ", ".join(queue.name for queue in found.queues) or "none"
        fix = f"name one of these as 'queue': {names}"
        return Finding("queue", ok=False, detail=f"there is no queue {options.queue or 'by default'}", fix=fix)
    return Finding("queue", ok=True, detail="; ".join(map(_described, wanted)))


def _is_meant(queue: Queue, options: LrmOptions) -> bool:
    if options.queue is not None:
        return queue.name in {options.queue, ""}
    return queue.default or options.lrm != "slurm"


def _described(queue: Queue) -> str:
    size = [f"{queue.memory_mb} MB" if queue.memory_mb else "", f"{queue.cpus} CPUs" if queue.cpus else ""]
    largest = " and ".join(word for word in size if word) or "of unknown size"
    longest = f"at most {queue.max_seconds} s" if queue.max_seconds else "without a limit of time"
    return f"{queue.name or 'all'}: {queue.nodes} nodes, the largest {largest}; jobs {longest}"


def _grace(options: LrmOptions, found: Survey) -> Finding:
    share = options.grace * options.share
    detail = f"{options.grace:g} s ({share:g} s of them the service's), limit {options.beyond} s beyond the lease"
    if found.notice is None:
        return Finding("grace", ok=True, detail=f"{detail}; the scheduler does not tell its own: try doctor --job")
    ok = options.grace <= found.notice
    fix = f"set 'grace' to {found.notice} at most, or raise {NOTICES[options.lrm]}"
    return Finding("grace", ok=ok, detail=f"{detail}; the scheduler grants {found.notice} s after a cancel", fix=fix)
