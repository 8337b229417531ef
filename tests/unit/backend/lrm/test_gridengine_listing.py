"""Grid Engine's answers read: real ones from a private Grid Engine 8.1.9, and what no answer should look like."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.backend.lrm.api import JobView, Output, Queue
from flyinglow.backend.lrm.gridengine.listing import jobs, says, seconds
from flyinglow.backend.lrm.gridengine.site import (
    read_environment,
    read_environments,
    read_instances,
    read_queue,
    read_version,
)
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.nodectl.errors import FlyingLowError, TransientError

GOLDEN = Path(__file__).with_name("golden")
AT_15_49_29 = 1795362569.0  # 2026-11-22T15:49:29 UTC


def golden(name: str) -> str:
    """Read a golden file."""
    return (GOLDEN / f"gridengine_{name}").read_text()


def listed(name: str) -> dict[str, JobView]:
    """Read a golden listing; the jobs by id."""
    return {view.lrm_id: view for view in jobs(golden(name), AT_15_49_29)}


def test_a_running_job_is_one_with_all_its_nodes_and_the_time_left() -> None:
    """Grid Engine lists it once for each node, and the first node twice."""
    view = listed("list.xml")["1"]
    assert (view.tag, view.says, view.native) == ("abcd1234", LrmSays.RUNNING, "r")
    assert sorted(view.nodes) == ["node1", "node2", "node3", "node4"]
    assert view.left == 240
    assert view.restarts == 0


def test_waiting_jobs_tell_for_what() -> None:
    """For what they asked, or that they are held."""
    views = listed("list.xml")
    assert views["5"].says is LrmSays.WAITING
    assert views["5"].reason == "it waits for 9 hosts to be free for it at once"
    assert (views["3"].native, views["3"].reason) == ("hqw", "the job is held")
    assert views["5"].left is None


def test_a_job_being_deleted_is_ending() -> None:
    """It keeps its nodes until the pilots are gone."""
    view = listed("list_ending.xml")["1"]
    assert (view.native, view.says, len(view.nodes)) == ("dr", LrmSays.ENDING, 4)


def test_a_job_in_error_has_ended_and_a_suspended_one_runs() -> None:
    """The first never starts; the second keeps its nodes and its memory."""
    by_tag = {view.tag: view for view in listed("list_trouble.xml").values()}
    assert (by_tag["eqwx1234"].native, by_tag["eqwx1234"].says) == ("Eqw", LrmSays.ENDED)
    assert "could not start" in by_tag["eqwx1234"].reason
    assert (by_tag["susp1234"].native, by_tag["susp1234"].says) == ("Ss", LrmSays.RUNNING)
    assert by_tag["susp1234"].reason == "the job is suspended"
    assert by_tag[None].says is LrmSays.RUNNING  # a job of our user that is none of our pilots
    assert "foreign1" not in by_tag


def test_an_empty_list_is_a_list() -> None:
    """Complete, and without a job."""
    assert jobs(golden("list_empty.xml"), 0) == ()


@pytest.mark.parametrize(
    ("native", "meaning"),
    [
        *((state, LrmSays.WAITING) for state in ("qw", "hqw", "Rq", "hRwq", "w")),
        *((state, LrmSays.RUNNING) for state in ("r", "t", "Rr", "Rt", "hr", "s", "S", "T", "ts", "Ss", "rT", "N")),
        *((state, LrmSays.ENDING) for state in ("dr", "dt", "dRr", "ds", "dqw", "d")),
        *((state, LrmSays.ENDED) for state in ("Eqw", "Ehqw", "EhRqw", "dEqw", "z")),
        *((state, LrmSays.UNKNOWN) for state in ("", "?", "x", "running", "qw!", "h", "R", "läuft")),
    ],
)
def test_every_state_is_mapped(native: str, meaning: LrmSays) -> None:
    """Letters nobody knows mean: ask again."""
    assert says(native) is meaning


def test_warnings_around_the_answer_are_passed_over() -> None:
    """Of any client, before and after."""
    text = f"warning: your SGE_ROOT is odd\n{golden('list.xml')}\nerror: could not close\n"
    assert jobs(text, AT_15_49_29) == jobs(golden("list.xml"), AT_15_49_29)


@pytest.mark.parametrize("cut", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_half_an_answer_is_no_answer(cut: float) -> None:
    """A job that it does not show may live."""
    whole = golden("list.xml").rstrip()
    with pytest.raises(TransientError):
        jobs(whole[: int(len(whole) * cut)], 0)


@pytest.mark.parametrize(
    "text",
    [
        "commlib error: got select error",
        "<?xml version='1.0'?><job_info><queue_info></job_info>",
        "<?xml version='1.0'?><!DOCTYPE job_info [<!ENTITY a 'aaaa'>]><job_info>&a;</job_info>",
        "<?xml version='1.0'?><job_info><job_list><JB_job_number>1.5</JB_job_number></job_list></job_info>",
    ],
)
def test_what_is_no_listing_is_none(text: str) -> None:
    """Never an empty list, which would end every job."""
    with pytest.raises(TransientError):
        jobs(text, 0)


def test_another_locale_and_odd_times_do_no_harm() -> None:
    """A time that cannot be read is not known; everything else stands."""
    text = golden("list.xml").replace("2026-11-22T15:48:29", "22.11.2026 15:48 Uhr")
    assert {view.left for view in jobs(text, AT_15_49_29)} == {None}


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No crash, and no job that nobody listed."""
    framed = f"<?xml version='1.0'?><job_info><job_list><state>{text}</state></job_list></job_info>"
    for each in (text, framed):
        with pytest.raises(TransientError):
            jobs(each, 0)


def test_time_spans() -> None:
    """Seconds, or hours, minutes and seconds."""
    assert [seconds(text) for text in ("300", "0:5:0", "1:30:00", "0:0:15")] == [300, 300, 5400, 15]


def test_the_site_is_surveyed() -> None:
    """Version, nodes of the queue with what they have, and the time between notice and SIGKILL."""
    assert read_version(Output(0, golden("help.txt"), "")).version == "Grid Engine 8.1.9"
    (queue,) = read_instances(Output(0, golden("instances.xml"), "")).queues
    assert queue == Queue(name="batch", nodes=4, memory_mb=24105, cpus=2, max_seconds=None)
    survey = read_queue(Output(0, golden("queue.txt"), ""), "batch", "spread")
    assert (survey.notice, survey.findings) == (15, ())
    assert read_environment(Output(0, golden("environment.txt"), ""), "spread").findings == ()


def test_what_is_amiss_is_told_with_what_to_do() -> None:
    """Each finding names what to set."""
    text = golden("queue.txt")
    changed = text.replace("0:00:15", "NONE").replace("s_rt                  INFINITY", "s_rt  1:0:0")
    findings = read_queue(Output(0, changed, ""), "batch", "mpi").findings
    assert len(findings) == 3
    assert '"notify"' in findings[0]
    assert "qconf -aattr queue pe_list mpi batch" in findings[1]
    assert "s_rt 1:0:0" in findings[2]
    assert "hardly" in read_queue(Output(0, text.replace("0:00:15", "0:00:03"), ""), "batch", None).findings[0]
    spread = golden("environment.txt").replace("allocation_rule    1", "allocation_rule    $fill_up")
    findings = read_environment(Output(0, spread.replace("TRUE", "FALSE"), ""), "spread").findings
    assert ["allocation_rule $fill_up" in findings[0], "control_slaves FALSE" in findings[1]] == [True, True]
    assert "allocation_rule 1" in read_environments(Output(0, "mpi\nsmp\n", "")).findings[0]
    missing = Output(1, "", "nope is not a parallel environment\n")
    assert "no parallel environment nope" in read_environment(missing, "nope").findings[0]
    unknown = Output(1, "", 'No cluster queue or queue instance matches the phrase "nope"\n')
    assert "no queue nope" in read_queue(unknown, "nope", None).findings[0]


def test_a_limit_of_the_queue_is_its_longest_job() -> None:
    """Only when every instance has one."""
    text = golden("instances.xml").replace(">infinity<", ">3600.000000<")
    assert read_instances(Output(0, text, "")).queues[0].max_seconds == 3600
    text = golden("instances.xml").replace(">infinity<", ">3600.000000<", 1)
    assert read_instances(Output(0, text, "")).queues[0].max_seconds is None


@pytest.mark.parametrize("read", [read_version, read_instances, lambda out: read_queue(out, "batch", None)])
def test_a_silent_qmaster_is_asked_again(read: object) -> None:
    """It is no finding that it is away."""
    output = Output(1, "", 'error: unable to send message to qmaster using port 6444 on host "head": got send error\n')
    assert callable(read)
    with pytest.raises(TransientError):
        read(output)
    with pytest.raises(FlyingLowError):
        read(Output(1, "", ""))
