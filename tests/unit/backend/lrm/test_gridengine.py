"""The Grid Engine adapter: what its commands are told, and what is refused before any command runs."""

import subprocess
from typing import Any

import pytest

from flyinglow.backend.lrm.api import JobRequest, Output, SiteTerms
from flyinglow.backend.lrm.gridengine.adapter import GridEngine
from flyinglow.backend.lrm.model import Component
from flyinglow.nodectl.errors import (
    DeniedError,
    ExhaustedError,
    FlyingLowError,
    InvalidError,
    NeverError,
    TransientError,
)

SMALL = Component(nodes=2, memory_mb=500, cpus=1)
LARGE = Component(nodes=1, memory_mb=900, cpus=2)


def engine(**changes: Any) -> GridEngine:
    """Make an adapter for a site that has a parallel environment."""
    return GridEngine(SiteTerms(**{"parallel_environment": "spread", **changes}))


def request(*components: Component, **changes: Any) -> JobRequest:
    """Make a request."""
    values: dict[str, Any] = {
        "tag": "abcdefgh",
        "seconds": 90,
        "program": b"print(1)",
        "settings": b'{"key":"SECRET"}\n',
    }
    return JobRequest(components=components or (SMALL,), **{**values, **changes})


def test_a_job_is_asked_for_in_full() -> None:
    """Told before it is killed, never to be run again, one host for each slot, and what the site counts."""
    made = engine(queue="batch", account="physics", directory="/scratch", extra=("-l", "mem_free={memory_mb}M"))
    call = made.submit(request(reservation="17"))
    assert call.argv == (
        *("qsub", "-terse", "-S", "/bin/sh", "-N", "fl-abcdefgh", "-wd", "/scratch"),
        *("-j", "y", "-o", "/scratch/fl-abcdefgh.log", "-notify", "-r", "n", "-pe", "spread", "2", "-l", "h_rt=90"),
        *("-q", "batch", "-P", "physics", "-ar", "17", "-l", "mem_free=500M"),
    )


def test_the_key_is_in_the_script_and_nowhere_else() -> None:
    """Not in an argument, and not in what the launcher is given on its command line."""
    call = engine().submit(request())
    assert b"SECRET" in call.stdin
    assert not any("SECRET" in word for word in call.argv)
    launch = next(line for line in call.stdin.decode().splitlines() if "-inherit" in line)
    assert "SECRET" not in launch
    assert "SECRET" not in repr(call)


def test_the_script_is_one_that_a_shell_reads() -> None:
    """And text that looks like an option of qsub stays text."""
    script = engine().submit(request(settings=b'{"key":"x","name":"#$ -q evil"}\n')).stdin
    assert not [line for line in script.splitlines() if line.startswith(b"#$")]
    assert subprocess.run(["/bin/sh", "-n"], input=script, check=False, timeout=20).returncode == 0


def test_sizes_are_split_and_mixed_ones_refused() -> None:
    """Grid Engine has nodes of one size in a job."""
    assert engine().splits((SMALL, LARGE)) == ((SMALL,), (LARGE,))
    with pytest.raises(InvalidError):
        engine().submit(request(SMALL, LARGE))


def test_a_parallel_environment_is_needed_and_named() -> None:
    """The message says which key."""
    with pytest.raises(InvalidError, match="parallel_environment"):
        engine(parallel_environment=None).submit(request())


HOSTILE = ("-q", "a b", "a\nb", "a;b", "$(id)", "`id`", "a'b", 'a"b', "", "a|b", "a\0b", "../x", "@all\n")


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("key", ["queue", "account", "parallel_environment"])
def test_names_that_could_be_something_else_are_refused(key: str, value: str) -> None:
    """Shell characters, newlines, leading dashes."""
    with pytest.raises(InvalidError):
        engine(**{key: value})


@pytest.mark.parametrize("value", HOSTILE)
def test_reservations_and_tags_are_checked(value: str) -> None:
    """They come with each request."""
    for change in ({"tag": value}, {"reservation": value} if value else {"tag": value}):
        with pytest.raises(InvalidError):
            engine().submit(request(**change))


@pytest.mark.parametrize(
    "extra",
    [
        ("script",),
        ("-l",),
        ("-l", "a=1", "script"),
        ("-sync", "y"),
        ("-N", "other"),
        ("-r", "y"),
        ("-t", "1-9"),
        ("-b", "y"),
        ("-l", "-q"),
        ("-v", "LD_PRELOAD=x"),
        ("-@", "/etc/passwd"),
    ],
)
def test_extra_words_make_no_other_job(extra: tuple[str, ...]) -> None:
    """Pairs of an allowed option and a value, nothing else."""
    with pytest.raises(InvalidError):
        engine(extra=extra)


@pytest.mark.parametrize("lrm_id", ["", "-f", "1 2", "*", "1.1", "fl-abc", "\uff11"])
def test_only_a_job_id_is_cancelled(lrm_id: str) -> None:
    """``qdel *`` would be a disaster."""
    with pytest.raises(InvalidError):
        engine().cancel(lrm_id)


@pytest.mark.parametrize("size", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_a_size_is_at_least_one(size: tuple[int, int, int]) -> None:
    """Of everything; and so is the time."""
    component = Component(nodes=size[0], memory_mb=size[1], cpus=size[2])
    with pytest.raises(InvalidError):
        engine().submit(request(component))
    with pytest.raises(InvalidError):
        engine().submit(request(seconds=0))


def test_the_id_is_found_among_warnings() -> None:
    """It stands alone on its line."""
    read = engine().submit(request()).read
    assert read(Output(0, "warning: 3 jobs of yours\n4711\n", "")) == "4711"
    for out in ("", "Your job 4711 has been submitted\n", "47 11\n", "4711.1-4:1\n"):
        with pytest.raises(TransientError):
            read(Output(0, out, ""))


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (
            "error: commlib error: got select error (Connection refused)\nUnable to run job: ...\nExiting.",
            TransientError,
        ),
        ('Unable to run job: Job was rejected because job requests unknown queue "x"\nExiting.', InvalidError),
        ('Unable to run job: job rejected: the requested project "x" does not exist\nExiting.', InvalidError),
        ('lease - you do not have the necessary privileges to delete the job "7"', DeniedError),
        ("Unable to run job: denied: user is not in any access list\nExiting.", DeniedError),
        ("Unable to run job: job rejected: only 5 jobs are allowed per user (current job count: 5)", ExhaustedError),
        ("verification: no suitable queues\nExiting.", NeverError),
        ("", TransientError),
        ("etwas ging schief", TransientError),
    ],
)
def test_refusals_say_what_the_caller_can_do(said: str, kind: type[FlyingLowError]) -> None:
    """By Grid Engine's own words."""
    for call in (engine().submit(request()), engine().rehearse(request()), engine().list(), engine().cancel("1")):
        with pytest.raises(kind):
            call.read(Output(1, "", said))


def test_cancelling_what_is_gone_is_no_error() -> None:
    """Its words as an ordinary user sees them."""
    read = engine().cancel("99").read
    read(Output(1, 'denied: job "99" does not exist\n', ""))
    read(Output(1, "job 99 is already in deletion\n", ""))
    read(Output(0, "lease has registered the job 99 for deletion\n", ""))


def test_a_dry_run_carries_no_key_and_submits_nothing() -> None:
    """It only verifies."""
    call = engine(queue="batch").rehearse(request())
    assert call.argv[1:3] == ("-w", "v")
    assert b"SECRET" not in call.stdin
    assert call.read(Output(0, "verification: found suitable queue(s)\n", "")).starts_in is None


def test_a_limit_cannot_be_changed() -> None:
    """Grid Engine would say yes and not do it."""
    with pytest.raises(DeniedError):
        engine().extend("1", 3600)
