"""The back-end's own table: read when the file is, and refused with the line and the key of every fault."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import Any

import pytest

from flyinglow.backend import loading
from flyinglow.nodectl.errors import InvalidError
from flyinglow.server.configuration.file import parse

SLURM = "lrm = 'slurm'"
GRIDENGINE = "lrm = 'gridengine'\nparallel_environment = 'spread'"
TORQUE = "lrm = 'pbs'\ndialect = 'torque'"
OPENPBS = "lrm = 'pbs'"
EVERY = pytest.mark.parametrize("lrm", [SLURM, GRIDENGINE, TORQUE, OPENPBS], ids=["slurm", "sge", "torque", "openpbs"])
SSH = "ssh = { address = 'head', port = 22, user = 'spool', identity = '/etc/id', known_hosts = '/etc/known'"


def refused(kind: str, options: str) -> list[str]:
    """Return the lines of the refusal; ``options`` begin in line 4."""
    with pytest.raises(InvalidError) as caught:
        parse(f"[backend]\nkind = '{kind}'\n[backend.options]\n{options}\n", "x")
    return caught.value.message.splitlines()


def accepted(kind: str, options: str) -> dict[str, Any]:
    return parse(f"[backend]\nkind = '{kind}'\n[backend.options]\n{options}\n", "x").backend.options


@pytest.mark.parametrize(
    ("line", "key", "said"),
    [
        ("colour = 'red'", "colour", "unknown key 'colour'"),
        ("poll = 'often'", "poll", "must be float, not 'often'"),
        ("queue = 7", "queue", "must be str or NoneType, not 7"),
        ("guard_least = true", "guard_least", "must be int, not True"),
        ("poll = 0", "poll", "more than 0 seconds"),
        ("command_timeout = inf", "command_timeout", "more than 0 seconds"),
        ("share = 1.5", "share", "between 0 and 1"),
        ("guard_share = nan", "guard_share", "between 0 and 1"),
        ("margin = 20", "margin", "longer than 'grace'"),
        ("longest = 100", "longest", "no lease beside the 'margin' of 120 s"),
        ("release_patience = -1", "release_patience", "at least 0"),
        ("stray_grace = nan", "stray_grace", "at least 0"),
        ("slot_overhead_mb = -64", "slot_overhead_mb", "at least 0, not -64"),
        ("retain = inf", "retain", "at least 0"),
        ("node_cpus = 0", "node_cpus", "at least 1, not 0"),
        ("max_members = 0", "max_members", "at least 1, not 0"),
        ("extend = 'always'", "extend", "one of held, operator"),
        ("memory_policy = 'most'", "memory_policy", "'memory_policy' must be one of exact"),
        ("policy = 'best'", "policy", "no policy 'best'"),
        ("policy_options = { seconds = 5 }", "policy_options.seconds", "unknown key 'seconds'"),
        ("agent = []", "agent", "must name the program"),
        ("agent = ['sudo', 5]", "agent", "a list of words"),
        ("extra = ['--qos=x', true]", "extra", "cannot be an 'extra' option"),
        ("commands = { squeue = 5.5 }", "commands.squeue", "must be text"),
        ("environment = { SLURM_CONF = true }", "environment.SLURM_CONF", "must be text"),
        ("networks = { private = true }", "networks.private", "a bridge's name or false"),
        ("url = 'ftp://head:1'", "url", "no http or https URL"),
        ('url = "http://head:1\\n"', "url", "a space or a control character"),
        ("certificate = 'ca.pem'", "certificate", "an absolute path"),
        ("spool = 'reports'", "spool", "an absolute path"),
        ("ssh = { address = 'head' }", "ssh", "second report channel"),
        (f"{SSH}, colour = 'red' }}", "ssh.colour", "unknown key 'colour'"),
        (SSH.replace("head", "-oProxyCommand=x") + " }", "ssh", "begins with a dash"),
    ],
)
def test_an_option_of_the_scheduler_back_end_is_refused_with_its_line(line: str, key: str, said: str) -> None:
    fault = next(text for text in refused("lrm", f"{SLURM}\n{line}") if f": backend.options.{key}: " in text)
    assert fault.startswith("x:5: ")
    assert said in fault


@EVERY
@pytest.mark.parametrize("key", ["queue", "account", "reservation", "parallel_environment"])
@pytest.mark.parametrize("name", ["a b", "-x", "$(id)", "a;b", "a\\nb", "", "`id`", "a'b", "a" * 200])
def test_a17_a_name_that_could_be_something_else_is_refused_for_every_scheduler(lrm: str, key: str, name: str) -> None:
    lines = [line for line in lrm.splitlines() if not line.startswith(key)]
    faults = refused("lrm", "\n".join([*lines, f'{key} = "{name}"']))
    assert any(
        fault.startswith(f"x:{4 + len(lines)}: backend.options.{key}: ") and f"cannot be a {key} of the" in fault
        for fault in faults
    ), faults


@EVERY
@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("interpreter = 'python3; reboot'", "interpreter"),
        ("directory = 'scratch'", "directory"),
        ("shared_directory = '/home/$USER'", "shared_directory"),
        ("commands = { qsub = '-x' }", "commands.qsub"),
        ("environment = { 'A B' = 'x' }", "environment"),
        ('environment = { A = "x\\ny" }', "environment.A"),
        ("extra = ['-l', '$(id)']", "extra"),
        ("extra = ['script']", "extra"),
        ("extra = ['-l', '-x']", "extra"),
    ],
)
def test_a17_what_a_scheduler_or_a_shell_could_misunderstand_is_refused(lrm: str, line: str, key: str) -> None:
    at = 4 + len(lrm.splitlines())
    assert any(fault.startswith(f"x:{at}: backend.options.{key}: ") for fault in refused("lrm", f"{lrm}\n{line}"))


@EVERY
def test_good_terms_are_taken(lrm: str) -> None:
    extra = {SLURM: "['--qos=high']", GRIDENGINE: "['-l', 'mem_free={memory_mb}M']"}.get(lrm, "['-p', '7']")
    text = (
        f"{lrm}\nqueue = 'batch'\naccount = 'physics'\nextra = {extra}\nenvironment = {{ PORT = 6444 }}\n"
        f"networks = {{ private = 'br0', public = false }}\nurl = 'https://head:9443'\nretain = 0\n"
        f"policy = 'over_provision'\npolicy_options = {{ base = 'keep_warm', base_options = {{ seconds = 9 }} }}\n"
        f"{SSH} }}"
    )
    assert accepted("lrm", text)["queue"] == "batch"


def test_only_torque_has_no_reservations() -> None:
    for lrm in (SLURM, GRIDENGINE, OPENPBS):
        assert accepted("lrm", f"{lrm}\nreservation = 'R17'")["reservation"] == "R17"
    (fault,) = refused("lrm", f"{TORQUE}\nreservation = 'R17'")
    assert fault.startswith("x:6: backend.options.reservation: ")
    assert "Torque itself has no advance reservations" in fault


def test_grid_engine_needs_a_parallel_environment() -> None:
    (fault,) = refused("lrm", "lrm = 'gridengine'")
    assert fault.startswith("x:3: backend.options.parallel_environment: ")
    assert "qconf -spl" in fault


def test_a_policy_below_another_is_refused_where_it_stands() -> None:
    text = f"""{SLURM}
policy = 'over_provision'
[backend.options.policy_options]
base = 'keep_warm'
[backend.options.policy_options.base_options]
patience = 5
second = 9"""
    (fault,) = refused("lrm", text)
    assert fault.startswith("x:10: backend.options.policy_options.base_options.second: ")


def test_all_faults_are_named_at_once_in_the_order_of_their_lines() -> None:
    faults = refused("lrm", f"reservation = 'a b'\n{SLURM}\nshare = 2\nqueue = '-x'\npoll = -1")
    assert [fault.split(": ")[:2] for fault in faults] == [
        ["x:4", "backend.options.reservation"],
        ["x:6", "backend.options.share"],
        ["x:7", "backend.options.queue"],
        ["x:8", "backend.options.poll"],
    ]
    unknown = refused("lrm", "a = 1\nb = 2\npoll = 'x'")
    assert [fault.split(": ")[0] for fault in unknown] == ["x:3", "x:4", "x:5", "x:6"]


@pytest.mark.parametrize(
    ("kind", "line", "key", "said"),
    [
        ("default", "placement = 'left'", "placement", "must be pack or spread"),
        ("default", "placements = 'pack'", "placements", "unknown key"),
        ("default", "list_timeout = -1", "list_timeout", "at least 0"),
        ("default", "max_members = 0", "max_members", "at least 1"),
        ("simulated", "placement = 'left'", "placement", "must be pack or spread"),
        ("simulated", "queue = 'long'", "queue", "must be bool"),
        ("simulated", "grant_after = 'soon'", "grant_after", 'seconds or "never"'),
        ("simulated", "delays = { jump = 1 }", "delays.jump", "unknown order 'jump'"),
        ("simulated", "failures = [{ order = 'jump' }]", "failures", "unknown order 'jump'"),
        ("simulated", "failures = [{ order = 'start', often = 2 }]", "failures.often", "unknown key 'often'"),
    ],
)
def test_the_other_back_ends_look_at_their_options_too(kind: str, line: str, key: str, said: str) -> None:
    (fault,) = refused(kind, line)
    assert fault.startswith(f"x:4: backend.options.{key}: ")
    assert said in fault


def test_a_back_end_that_is_not_installed_is_refused_with_the_known_ones() -> None:
    (fault,) = refused("cloud", "")
    assert fault.startswith("x:2: backend.kind: there is no back-end 'cloud'; installed are: default, lrm")


def test_a_back_end_of_others_may_look_at_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ModuleType("theirs")
    exec("def create(settings): return None", theirs.__dict__)
    monkeypatch.setitem(sys.modules, "theirs", theirs)
    entries = EntryPoints([EntryPoint("theirs", "theirs:create", loading.GROUP)])
    monkeypatch.setattr(loading, "entry_points", lambda group: entries)
    assert accepted("theirs", "colour = 'red'") == {"colour": "red"}
    monkeypatch.setattr(theirs, "check", lambda table: [((key,), "not mine") for key in table], raising=False)
    assert refused("theirs", "\ncolour = 'red'") == ["x:5: backend.options.colour: not mine"]
