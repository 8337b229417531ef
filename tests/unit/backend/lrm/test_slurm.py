"""The Slurm adapter: what its commands are told, and what is refused before any command runs."""

from pathlib import Path
from typing import Any

import pytest

from flyinglow.backend.lrm.api import JobRequest, Output, SiteTerms
from flyinglow.backend.lrm.model import Component
from flyinglow.backend.lrm.slurm.adapter import Slurm
from flyinglow.nodectl.errors import (
    DeniedError,
    FlyingLowError,
    InvalidError,
    NeverError,
    TransientError,
)

SMALL = Component(nodes=2, memory_mb=500, cpus=1)
LARGE = Component(nodes=1, memory_mb=900, cpus=2)


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
    """Exactly the nodes, memory and CPUs of its slots, named, never to be requeued, its limit rounded up to minutes."""
    terms = SiteTerms(queue="batch", account="physics", extra=("--qos=high",), directory="/scratch")
    call = Slurm(terms).submit(request(reservation="maintenance-7"))
    assert call.argv[0] == "sbatch"
    assert set(call.argv[1:]) == {
        *("--parsable", "--no-requeue", "--job-name=fl-abcdefgh", "--comment=fl-abcdefgh"),
        *("--output=/scratch/fl-abcdefgh.log", "--chdir=/scratch", "--time=2", "--mem=500M"),
        *("--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=1"),
        *("--partition=batch", "--account=physics", "--reservation=maintenance-7", "--qos=high"),
    }


def test_different_sizes_are_one_heterogeneous_job() -> None:
    """Each component has its own numbers, and its own step, whose ranks go on where the one before ended."""
    call = Slurm(SiteTerms()).submit(request(SMALL, LARGE))
    assert call.argv.count(":") == 1
    second = call.argv[call.argv.index(":") + 1 :]
    assert {"--nodes=1", "--mem=900M", "--cpus-per-task=2", "--time=2"} <= set(second)
    script = call.stdin.decode()
    assert "--het-group=0" in script
    assert "--het-group=1" in script
    assert '"$((2 + SLURM_PROCID))"' in script


def test_sizes_are_split_where_the_site_wants_no_heterogeneous_jobs() -> None:
    """All in one, or one job for each."""
    assert Slurm(SiteTerms()).splits((SMALL, LARGE)) == ((SMALL, LARGE),)
    assert Slurm(SiteTerms(heterogeneous=False)).splits((SMALL, LARGE)) == ((SMALL,), (LARGE,))


def test_the_key_is_in_the_script_only() -> None:
    """Neither arguments nor what a call shows of itself have it."""
    asked = request()
    call = Slurm(SiteTerms()).submit(asked)
    assert b"SECRET" in call.stdin
    assert not any("SECRET" in word for word in call.argv)
    assert "SECRET" not in repr(call) + repr(asked)


@pytest.mark.parametrize("bad", ["-p", "a b", "a;b", "a\nb", "$(id)", "`id`", "", "a'b", "a|b", "\0", "x" * 200])
@pytest.mark.parametrize("key", ["queue", "account", "parallel_environment"])
def test_a_name_that_could_be_something_else_is_refused(key: str, bad: str) -> None:
    """Before any command runs, and naming the key."""
    keys: dict[str, Any] = {key: bad}
    with pytest.raises(InvalidError, match=key):
        Slurm(SiteTerms(**keys))


@pytest.mark.parametrize(
    "word",
    [
        "script.sh",
        ":",
        "--wrap=id",
        "--requeue",
        "--array=1-9",
        "--nodes=3",
        "--output=a b",
        "--qos=a\n#SBATCH -n9",
        "-",
        "--",
    ],
)
def test_an_extra_word_that_would_make_another_job_is_refused(word: str) -> None:
    """A word that is no option would be taken for the script, a colon for another component."""
    with pytest.raises(InvalidError):
        Slurm(SiteTerms(extra=(word,)))


@pytest.mark.parametrize("word", ["--qos=high", "--constraint=ib&big", "--exclusive", "-Cfast", "--gres=tmp:5"])
def test_an_extra_option_is_passed_on(word: str) -> None:
    """As one word, to every component."""
    call = Slurm(SiteTerms(extra=(word,))).submit(request(SMALL, LARGE))
    assert call.argv.count(word) == 2


@pytest.mark.parametrize(
    "changes", [{"directory": "tmp"}, {"interpreter": "/bin/a b"}, {"commands": {"sbatch": "a b"}}]
)
def test_paths_are_paths(changes: dict[str, Any]) -> None:
    """Nothing with blanks, nothing relative."""
    with pytest.raises(InvalidError):
        Slurm(SiteTerms(**changes))


@pytest.mark.parametrize(
    "changes",
    [{"components": ()}, {"seconds": 0}, {"reservation": "-x"}, {"settings": b"{}\n#SBATCH --nodes=9"}, {"tag": "a b"}],
)
def test_a_request_that_cannot_be_said_is_refused(changes: dict[str, Any]) -> None:
    """With an error that says why."""
    values = {"tag": "abcdefgh", "components": (SMALL,), "seconds": 60, "settings": b"{}", **changes}
    with pytest.raises(InvalidError):
        Slurm(SiteTerms()).submit(JobRequest(**values))


@pytest.mark.parametrize("lrm_id", ["-f", "1 2", "1+0", "", "1_2", "all"])
def test_only_a_number_is_cancelled_or_extended(lrm_id: str) -> None:
    """One job, never several and never an option."""
    slurm = Slurm(SiteTerms())
    with pytest.raises(InvalidError):
        slurm.cancel(lrm_id)
    with pytest.raises(InvalidError):
        slurm.extend(lrm_id, 60)


def test_programs_are_taken_from_where_the_site_says() -> None:
    """By full path where PATH does not do."""
    slurm = Slurm(SiteTerms(commands={"scancel": "/opt/slurm/bin/scancel"}))
    assert slurm.cancel("7").argv == ("/opt/slurm/bin/scancel", "--", "7")


@pytest.mark.parametrize("out", ["123\n", "123;cluster\n", "sbatch: weird advice\n123\n"])
def test_the_id_is_read(out: str) -> None:
    """With or without the cluster's name, and behind chatter."""
    assert Slurm(SiteTerms()).submit(request()).read(Output(0, out, "")) == "123"


def test_no_id_means_ask_again() -> None:
    """The job may have been accepted all the same."""
    with pytest.raises(TransientError):
        Slurm(SiteTerms()).submit(request()).read(Output(0, "submitted, thank you\n", ""))


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", NeverError),
        ("sbatch: error: Memory specification can not be satisfied", NeverError),
        ("sbatch: error: invalid partition specified: nosuch", InvalidError),
        ("allocation failure: Requested reservation is invalid", InvalidError),
        ("Access/permission denied for job 7", DeniedError),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination", DeniedError),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", TransientError),
        ("sbatch: error: Socket timed out on send/recv operation", TransientError),
        ("something that nobody has seen", TransientError),
        ("", TransientError),
    ],
)
def test_a_refusal_is_told_by_what_can_be_done_about_it(said: str, kind: type[FlyingLowError]) -> None:
    """All but the two last are what a real Slurm said."""
    with pytest.raises(kind) as caught:
        Slurm(SiteTerms()).rehearse(request()).read(Output(1, "", said))
    assert type(caught.value) is kind


def test_a_munge_that_is_away_refuses_nobody() -> None:
    """Although its words say that something is invalid or not there."""
    said = Path(__file__).with_name("golden").joinpath("slurm_munge_down.txt").read_text()
    for call in (Slurm(SiteTerms()).submit(request()), Slurm(SiteTerms()).cancel("7"), Slurm(SiteTerms()).list()):
        with pytest.raises(TransientError):
            call.read(Output(1, "", said))


def test_a_listing_that_fails_is_never_more_than_no_answer() -> None:
    """Whatever Slurm says, all jobs are as they were."""
    for said in ("squeue: error: Invalid user: lease", "slurm_load_jobs error: Access/permission denied", ""):
        with pytest.raises(TransientError):
            Slurm(SiteTerms()).list().read(Output(1, "", said))


def test_a_job_that_is_not_there_is_cancelled() -> None:
    """It is what was wanted."""
    read = Slurm(SiteTerms()).cancel("7").read
    read(Output(1, "", "scancel: error: Kill job error on job id 7: Invalid job id specified"))
    read(Output(1, "", "scancel: error: Kill job error on job id 7: Job/step already completing or completed"))
    with pytest.raises(TransientError):
        read(Output(1, "", "scancel: error: Kill job error on job id 7: Unable to contact slurm controller"))


def test_a_dry_run_tells_when() -> None:
    """Counted from when the command ended."""
    said = (
        "sbatch: Job 7706016 to start at 2026-11-22T16:11:58 using 4 processors on nodes node[1-2] in partition batch\n"
    )
    read = Slurm(SiteTerms()).rehearse(request()).read
    at_16_11_00 = 1795363860.0
    assert read(Output(0, "", said, at_16_11_00)).starts_in == 58
    assert read(Output(0, "", said)).starts_in is None
    assert read(Output(0, "", "")).starts_in is None
