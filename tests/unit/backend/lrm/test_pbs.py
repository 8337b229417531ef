"""The PBS adapter: what the commands of Torque and OpenPBS are told, and how their answers are read.

The golden listings are written after the documented full form of both (qstat(1B), pbsnodes(1B)), continuation lines and
all; what the pretended Torque prints is read by the contract suite.
"""

import contextlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.backend.lrm.api import JobRequest, Output, SiteTerms
from flyinglow.backend.lrm.model import Component
from flyinglow.backend.lrm.pbs.adapter import Pbs
from flyinglow.backend.lrm.pbs.listing import STATES, jobs, seconds
from flyinglow.backend.lrm.pbs.site import read_nodes, read_queue, read_server
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.nodectl.errors import (
    DeniedError,
    ExhaustedError,
    FlyingLowError,
    InvalidError,
    NeverError,
    TransientError,
)

GOLDEN = Path(__file__).with_name("golden")
SMALL = Component(nodes=2, memory_mb=500, cpus=1)
LARGE = Component(nodes=1, memory_mb=900, cpus=2)


def pbs(dialect: str = "torque", **changes: Any) -> Pbs:
    """Make an adapter for the user ``lease``."""
    return Pbs(SiteTerms(**changes), dialect, "lease")


def request(*components: Component, **changes: Any) -> JobRequest:
    """Make a request."""
    values: dict[str, Any] = {
        "tag": "abcdefgh",
        "seconds": 90,
        "program": b"print(1)",
        "settings": b'{"key":"SECRET"}\n',
    }
    return JobRequest(components=components or (SMALL,), **{**values, **changes})


def golden(name: str) -> str:
    """Read a golden file."""
    return (GOLDEN / f"pbs_{name}.txt").read_text()


def test_torque_is_asked_for_nodes() -> None:
    """In one resource list; memory is the whole job's."""
    call = pbs(queue="batch", account="physics", directory="/scratch", extra=("-p", "7")).submit(request())
    assert call.argv == (
        *("qsub", "-S", "/bin/sh", "-N", "fl-abcdefgh", "-r", "n", "-j", "oe", "-o", "/scratch/fl-abcdefgh.log"),
        *("-q", "batch", "-A", "physics", "-l", "nodes=2:ppn=1,walltime=90,mem=1000mb", "-p", "7"),
    )


def test_openpbs_is_asked_for_chunks_of_each_size() -> None:
    """One job for all sizes, each chunk on a node of its own; a reservation is a queue."""
    adapter = pbs("openpbs", queue="workq")
    call = adapter.submit(request(SMALL, LARGE, reservation="R17"))
    assert "select=2:ncpus=1:mem=500mb:mpiprocs=1+1:ncpus=2:mem=900mb:mpiprocs=1" in call.argv
    assert {"place=scatter", "walltime=90", "R17"} <= set(call.argv)
    assert "workq" not in call.argv
    assert adapter.splits((SMALL, LARGE)) == ((SMALL, LARGE),)
    assert pbs("openpbs", heterogeneous=False).splits((SMALL, LARGE)) == ((SMALL,), (LARGE,))


def test_torque_has_one_size_a_job_and_no_reservations() -> None:
    """What cannot be said is refused."""
    assert pbs().splits((SMALL, LARGE)) == ((SMALL,), (LARGE,))
    for wrong in (request(SMALL, LARGE), request(reservation="R17")):
        with pytest.raises(InvalidError):
            pbs().submit(wrong)
    with pytest.raises(InvalidError, match="dialect"):
        pbs("slurm")


@pytest.mark.parametrize("dialect", ["torque", "openpbs"])
def test_the_key_is_in_the_script_and_on_no_command_line(dialect: str) -> None:
    """pbsdsh is told a file's name; the script is one that a shell reads."""
    call = pbs(dialect, shared_directory="/shared/fl").submit(request())
    text = call.stdin.decode()
    assert not any("SECRET" in word for word in call.argv)
    launch = next(line for line in text.splitlines() if line.startswith("pbsdsh"))
    assert launch == ("pbsdsh -u" if dialect == "torque" else "pbsdsh") + ' -- /bin/sh "$work/start" "$work"'
    assert "mktemp -d /shared/fl/.fl-abcdefgh.XXXXXX" in text
    assert text.index("umask 077") < text.index("mktemp")
    assert not [line for line in text.splitlines() if line.startswith("#PBS")]
    assert subprocess.run(["/bin/sh", "-n"], input=call.stdin, check=False, timeout=20).returncode == 0


@pytest.mark.parametrize("value", ["-q", "a b", "a\nb", "a;b", "$(id)", "a'b", 'a"b', "", "a|b", "a\0b"])
@pytest.mark.parametrize("key", ["queue", "account", "shared_directory", "directory"])
def test_names_that_could_be_something_else_are_refused(key: str, value: str) -> None:
    """Shell characters, newlines, leading dashes."""
    with pytest.raises(InvalidError):
        pbs(**{key: value})


@pytest.mark.parametrize(
    "extra",
    [("script",), ("-l",), ("-I", "x"), ("-N", "x"), ("-r", "y"), ("-v", "A=b"), ("-W", "block=true"), ("-t", "1-9")],
)
def test_extra_words_make_no_other_job(extra: tuple[str, ...]) -> None:
    """Pairs of an allowed option and a value, nothing else."""
    with pytest.raises(InvalidError):
        pbs(extra=extra)


@pytest.mark.parametrize("lrm_id", ["", "-p", "all", "1 2", "1.a b", "1;id", "1.-x", "\uff11.server"])
def test_only_a_job_id_is_named_to_a_command(lrm_id: str) -> None:
    """``qdel all`` would be a disaster."""
    with pytest.raises(InvalidError):
        pbs().cancel(lrm_id)
    with pytest.raises(InvalidError):
        pbs().extend(lrm_id, 60)


def test_the_id_is_found_among_warnings() -> None:
    """It stands alone on its line."""
    read = pbs().submit(request()).read
    assert read(Output(0, "qsub: waiting for job\n12.server.example.org\n", "")) == "12.server.example.org"
    for out in ("", "submitted 12.server\n", "12\n", "12.ser ver\n"):
        with pytest.raises(TransientError):
            read(Output(0, out, ""))


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("qsub: cannot connect to server s (errno=111) Connection refused", TransientError),
        ("qsub: Job exceeds queue resource limits MSG=cannot locate feasible nodes", NeverError),
        ("qsub: Maximum number of jobs already in queue", ExhaustedError),
        ("qsub: Unauthorized Request", DeniedError),
        ("qsub: Unknown queue MSG=requested queue not found", InvalidError),
        ("qsub: Job rejected by all possible destinations", InvalidError),
        ("", TransientError),
        ("Fehler", TransientError),
    ],
)
def test_refusals_say_what_the_caller_can_do(said: str, kind: type[FlyingLowError]) -> None:
    """By PBS's own words."""
    adapter = pbs()
    for call in (adapter.submit(request()), adapter.rehearse(request()), adapter.list(), adapter.extend("1.s", 60)):
        with pytest.raises(kind):
            call.read(Output(1, "", said))


def test_cancelling_what_is_gone_is_no_error() -> None:
    """In the words of both."""
    read = pbs().cancel("99.server").read
    for said in (
        "qdel: Unknown Job Id 99.server",
        "qdel: Job has finished 99.s",
        "qdel: Request invalid for state of job",
    ):
        read(Output(153, "", said))
    with pytest.raises(TransientError):
        read(Output(224, "", "qdel: Server could not connect to MOM 99.server"))


def test_torques_full_form_is_read() -> None:
    """Values go on after tabs, also through a host's name; nothing in a value is mistaken for another."""
    views = {view.lrm_id: view for view in jobs(golden("torque_full"), "lease")}
    run = views["1041.server.example.org"]
    assert (run.tag, run.says, run.native) == ("abcdefgh", LrmSays.RUNNING, "R")
    assert run.nodes == ("node1", "node2", "node3.example.org")
    assert (run.left, run.restarts) == (2995, 1)
    wait = views["1042.server.example.org"]
    assert (wait.says, wait.left) == (LrmSays.WAITING, None)
    assert wait.reason.startswith("Not Running: Draining")
    assert "1043.server.example.org" not in views  # another user's, whatever it is called
    done = views["1044.server.example.org"]
    assert (done.tag, done.says, done.reason) == (None, LrmSays.ENDED, "exit status 271")


def test_openpbss_full_form_is_read() -> None:
    """Chunks in exec_host, a comment that goes on, a letter that means: ask again."""
    views = {view.lrm_id: view for view in jobs(golden("openpbs_full"), "lease")}
    assert views["12.head"].nodes == ("node1", "node2")
    assert (views["12.head"].left, views["12.head"].restarts) == (295, 0)
    assert "(node2:ncpus" in views["12.head"].reason
    assert (views["13.head"].says, views["13.head"].reason) == (
        LrmSays.WAITING,
        "job held, too many failed attempts to run",
    )
    assert views["14.head"].says is LrmSays.UNKNOWN


def test_every_letter_is_mapped() -> None:
    """And nothing else is taken for one."""
    frame = "Job Id: 1.s\n    Job_Name = fl-abcdefgh\n    Job_Owner = lease@h\n    job_state = {}\n\n"
    for letter in "QHWTRBSUECFX":
        assert jobs(frame.format(letter), "lease")[0].says is STATES[letter]
    for letter in ("M", "?", "", "RUNNING", "q"):
        assert jobs(frame.format(letter), "lease")[0].says is LrmSays.UNKNOWN


def test_warnings_are_passed_over_and_a_part_is_no_whole() -> None:
    """A job that is not all there could be any."""
    whole = golden("torque_full")
    assert jobs(f"Warning: no keytab\n\n{whole}qstat: note\n", "lease") == jobs(whole, "lease")
    with pytest.raises(TransientError):
        jobs(whole[: whole.index("Job_Owner = other")], "lease")
    with pytest.raises(TransientError):
        jobs("Job Identifikation: 1.server\n", "lease")
    assert jobs("", "lease") == ()


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No crash, whatever stands in a value."""
    for each in (text, f"Job Id: 1.s\n    Job_Name = {text}\n", f"Job Id: {text}\n"):
        with contextlib.suppress(TransientError):
            jobs(each, "lease")


def test_a_job_is_held_against_the_nodes() -> None:
    """Those that are up; what nobody has is never."""
    read = pbs().rehearse(request()).read
    with pytest.raises(NeverError):
        pbs().rehearse(request(Component(nodes=3, memory_mb=1, cpus=1))).read(Output(0, golden("nodes"), ""))
    with pytest.raises(NeverError):
        pbs().rehearse(request(Component(nodes=2, memory_mb=3000, cpus=1))).read(Output(0, golden("nodes"), ""))
    with pytest.raises(NeverError):
        pbs().rehearse(request(Component(nodes=1, memory_mb=1, cpus=9))).read(Output(0, golden("nodes"), ""))
    assert read(Output(0, golden("nodes"), "")).starts_in is None


def test_the_site_is_surveyed() -> None:
    """Version, the largest node that is up, the queue's limit, and what is amiss."""
    assert read_server(Output(0, "Server: s\n    pbs_version = 2.5.13\n\n", "")).version == "PBS 2.5.13"
    (queue,) = read_nodes(Output(0, golden("nodes"), ""), "batch").queues
    assert (queue.name, queue.nodes, queue.memory_mb, queue.cpus) == ("batch", 2, 4096, 8)
    assert read_nodes(Output(0, "", ""), None).findings
    text = "Queue: batch\n    resources_max.walltime = 24:00:00\n    enabled = True\n    started = False\n\n"
    survey = read_queue(Output(0, text, ""), "batch")
    assert survey.queues[0].max_seconds == 86400
    assert "started = False" in survey.findings[0]
    assert "no queue x" in read_queue(Output(170, "", "qstat: Unknown queue x"), "x").findings[0]


def test_time_spans() -> None:
    """Seconds, or hours, minutes and seconds."""
    assert [seconds(text) for text in ("300", "00:05:00", " 1:30:00")] == [300, 300, 5400]
