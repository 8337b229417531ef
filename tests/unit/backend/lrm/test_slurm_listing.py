"""Slurm's tables read: real ones from a private Slurm 22.05, and what no table should look like."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.backend.lrm.api import JobView, Output, Queue
from flyinglow.backend.lrm.slurm.listing import STATES, jobs, node_names, seconds
from flyinglow.backend.lrm.slurm.site import read_config, read_partitions
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.nodectl.errors import FlyingLowError, TransientError

GOLDEN = Path(__file__).with_name("golden")
HEADING = "JOBID|STATE|NODELIST|TIME_LEFT|START_TIME|PREEMPT_TIME|REASON|NAME|\n"
AT_15_40 = 1795362000.0  # 2026-11-22T15:40:00 UTC


def listed(name: str) -> dict[str, JobView]:
    """Read a golden listing; the jobs by id."""
    return {view.lrm_id: view for view in jobs((GOLDEN / name).read_text(), AT_15_40)}


def one(line: str) -> JobView:
    """Read a listing of one job."""
    (view,) = jobs(HEADING + line + "\n", AT_15_40)
    return view


def test_waiting_jobs_tell_why_and_how_long() -> None:
    """Reasons are Slurm's; estimates are counted from the listing; a heterogeneous job waits for its last part."""
    views = listed("slurm_squeue_waiting.txt")
    assert views["7706004"] == JobView(
        lrm_id="7706004",
        tag="bbbbbbbb",
        says=LrmSays.WAITING,
        native="PENDING",
        reason="Priority",
        starts_in=540,
        left=300,
    )
    whole = views["7706005"]
    assert (whole.tag, whole.says, whole.reason, whole.starts_in) == ("cccccccc", LrmSays.WAITING, "Resources", 840)
    assert views["7706008"].reason == "JobHeldUser"
    assert views["7706008"].starts_in is None
    assert views["7706009"].reason == "PartitionTimeLimit"
    assert views["7706007"].reason == "BeginTime"
    assert views["7706012"].reason == "PartitionConfig"
    assert views["7706011"].tag is None  # named "we|ird name"
    assert views["7706002"].nodes == ("node1", "node2", "node3")
    assert len(views) == 12


def test_running_jobs_tell_where_and_how_long() -> None:
    """One view for a heterogeneous job, with the nodes in the order of its parts."""
    views = listed("slurm_squeue_running.txt")
    whole = next(view for view in views.values() if view.tag == "rrrrrrrr")
    assert (whole.says, whole.nodes, whole.left) == (LrmSays.RUNNING, ("node1", "node2"), 297)
    suspended = next(view for view in views.values() if view.tag == "ssssssss")
    assert (suspended.says, suspended.native, suspended.left) == (LrmSays.RUNNING, "SUSPENDED", 93777)
    ending = next(view for view in views.values() if view.tag == "uuuuuuuu")
    assert (ending.says, ending.native) == (LrmSays.ENDING, "COMPLETING")


def test_ended_jobs_tell_how() -> None:
    """Cancelled, failed, timed out, pre-empted, or their node failed."""
    views = listed("slurm_squeue_ended.txt")
    assert {view.says for view in views.values()} == {LrmSays.ENDED}
    natives = {view.tag: (view.native, view.reason) for view in views.values()}
    assert natives["tttttttt"] == ("TIMEOUT", "TimeLimit")
    assert natives["nnnnnnnn"] == ("NODE_FAIL", "NodeDown")
    assert natives["pppppppp"] == ("PREEMPTED", "Preempted")
    assert natives["abcdefgh"] == ("CANCELLED", "")
    assert all(view.starts_in is None for view in views.values())


@pytest.mark.parametrize("native", sorted(STATES))
def test_every_state_means_something(native: str) -> None:
    """All that squeue(1) names are known."""
    assert one(f"7|{native}|node1|1:00|N/A|N/A|None|fl-abcdefgh|").says is STATES[native]


@pytest.mark.parametrize("native", ["ZOMBIE", "", "RUNNING*", "LAUFEND"])
def test_an_unknown_state_means_ask_again(native: str) -> None:
    """Never that the job has ended."""
    view = one(f"7|{native}|node1|1:00|N/A|N/A|None|fl-abcdefgh|")
    assert (view.says, view.native, view.tag) == (LrmSays.UNKNOWN, native, "abcdefgh")


def test_half_a_line_leaves_that_job_unknown() -> None:
    """And the others as they are."""
    text = HEADING + "7|RUNNING|node1\n8|RUNNING|node2|1:00|N/A|N/A|None|fl-abcdefgh|\n"
    first, second = jobs(text, AT_15_40)
    assert (first.lrm_id, first.says, first.tag) == ("7", LrmSays.UNKNOWN, None)
    assert second.says is LrmSays.RUNNING


def test_chatter_before_the_table_is_skipped() -> None:
    """Warnings, in whatever language."""
    text = (
        "slurm: Warnung: Zertifikat läuft ab\n\nMaintenance on Friday|at noon|\n"
        + HEADING
        + "7|RUNNING|n|1:00|N/A|N/A|None|fl-a|\n"
    )
    assert [view.lrm_id for view in jobs(text, AT_15_40)] == ["7"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7|RUNNING|node1|1:00|N/A|N/A|None|fl-abcdefgh|\n",  # no heading
        HEADING.rstrip(),  # breaks off
        HEADING + "7|RUNNING|node1|1:00|N/A|N/A|None|fl-abc|",  # breaks off within a name
        HEADING + "squeue: error: lost the connection\n",
        HEADING + "12x|RUNNING|node1|1:00|N/A|N/A|None|fl-abcdefgh|\n",
        "AUFTRAG|STATUS|KNOTEN\n7|RUNNING|node1\n",
    ],
)
def test_a_table_that_may_not_be_whole_is_no_table(text: str) -> None:
    """Otherwise what it lacks would be taken for gone."""
    with pytest.raises(TransientError):
        jobs(text, AT_15_40)


def test_an_empty_table_is_one() -> None:
    """There are no jobs."""
    assert jobs(HEADING, AT_15_40) == ()


@given(st.text(max_size=200))
def test_garbage_never_breaks_the_reader(text: str) -> None:
    """It says so in its own words, whatever comes."""
    for listing in (text, HEADING + text + "\n", HEADING + f"7|{text}\n"):
        try:
            jobs(listing, AT_15_40)
        except FlyingLowError:
            continue


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        (("RUNNING", "RUNNING"), LrmSays.RUNNING),
        (("RUNNING", "CONFIGURING"), LrmSays.WAITING),
        (("RUNNING", "COMPLETED"), LrmSays.ENDING),
        (("PENDING", "CANCELLED"), LrmSays.ENDING),
        (("COMPLETING", "COMPLETED"), LrmSays.ENDING),
        (("RUNNING", "WHATEVER"), LrmSays.UNKNOWN),
        (("NODE_FAIL", "CANCELLED"), LrmSays.ENDED),
    ],
)
def test_a_job_of_parts_is_over_when_all_are(states: tuple[str, str], whole: LrmSays) -> None:
    """One word for all parts."""
    lines = [f"7+{number}|{state}|node{number}|1:00|N/A|N/A|None|fl-abcdefgh|\n" for number, state in enumerate(states)]
    (view,) = jobs(HEADING + "".join(lines), AT_15_40)
    assert (view.lrm_id, view.says, view.nodes) == ("7", whole, ("node0", "node1"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("node1", ("node1",)),
        ("node[1-3]", ("node1", "node2", "node3")),
        ("a[08-11],b", ("a08", "a09", "a10", "a11", "b")),
        ("r[1,3]n[1-2].site", ("r1n1.site", "r1n2.site", "r3n1.site", "r3n2.site")),
        ("odd[x-y]", ("odd[x-y]",)),
    ],
)
def test_node_lists_are_written_out(text: str, names: tuple[str, ...]) -> None:
    """As ``scontrol show hostnames`` does."""
    assert node_names(text) == names


@pytest.mark.parametrize(
    ("text", "value"), [("5:00", 300), ("1-02:03:04", 93784), ("1:00:00", 3600), ("UNLIMITED", None), ("INVALID", None)]
)
def test_limits_are_read(text: str, value: int | None) -> None:
    """What is no number is no limit."""
    assert seconds(text) == value


def test_the_site_is_read() -> None:
    """Version, notice and partitions, with what a job could have in each."""
    config = read_config(Output(0, (GOLDEN / "slurm_config.txt").read_text(), ""))
    assert (config.version, config.notice) == ("Slurm 22.05.8", 5)
    assert any("KillWait is 5 s" in finding for finding in config.findings)
    partitions = read_partitions(Output(0, (GOLDEN / "slurm_sinfo.txt").read_text(), ""))
    assert partitions.queues == (
        Queue(name="batch", nodes=4, memory_mb=2000, cpus=2, max_seconds=None, default=True),
        Queue(name="urgent", nodes=4, memory_mb=2000, cpus=2, max_seconds=None),
        Queue(name="short", nodes=2, memory_mb=2000, cpus=2, max_seconds=600),
    )


def test_partitions_of_mixed_nodes_are_laid_together() -> None:
    """The largest node of each, all nodes counted; one that is down is named."""
    survey = read_partitions(Output(0, "warning\nbig*|2|1000|4|1-00:00:00|down\nbig*|3|9000|2|1-00:00:00|down\n", ""))
    assert survey.queues == (Queue(name="big", nodes=5, memory_mb=9000, cpus=4, max_seconds=86400, default=True),)
    assert len(survey.findings) == 1


@pytest.mark.parametrize("native", ["RUNNING", "COMPLETING"])
def test_a_job_that_is_being_preempted_says_so(native: str) -> None:
    """Slurm shows it by the time of it alone, while the job's grace runs."""
    view = one(f"7|{native}|node1|4:50|2026-11-22T15:40:00|2026-11-22T15:42:00|None|fl-abcdefgh|")
    assert view.reason == "Preempted"
