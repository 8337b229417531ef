"""What every batch scheduler must do for the back-end: the same for the simulated one and for real ones."""

import contextlib
from collections.abc import Iterator

import pytest

from flyinglow.backend.lrm.api import JobRequest
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.nodectl.errors import DeniedError, InvalidError, NeverError
from rigs.lrm_benches import NODES, LrmBench
from rigs.waiting import eventually

ONE = (1, 400, 1)


@contextlib.contextmanager
def submitted(bench: LrmBench, request: JobRequest) -> Iterator[str]:
    """Submit, and leave the nodes free again."""
    lrm_id = bench.submit(request)
    try:
        yield lrm_id
    finally:
        bench.run(lambda: bench.lrm.cancel(lrm_id))
        bench.over(lrm_id)


def test_one_pilot_starts_on_each_node_with_its_rank_and_settings(bench: LrmBench) -> None:
    """Ranks count from 0, nodes are different ones, and each pilot has the job's key."""
    with submitted(bench, bench.request("onepernode", (3, 400, 1))) as lrm_id:
        pilots = bench.pilots("onepernode", 3)
        assert [pilot["rank"] for pilot in pilots] == [0, 1, 2]
        assert len({pilot["node"] for pilot in pilots}) == 3
        assert {pilot["key"] for pilot in pilots} == {"key-of-onepernode"}
        view = eventually(lambda: (now := bench.view(lrm_id)) and now.says is LrmSays.RUNNING and now)
        assert view.tag == "onepernode"
        assert set(view.nodes) == {pilot["node"] for pilot in pilots}
        assert view.left is None or 0 < view.left <= 360


def test_sizes_are_ranked_through_the_components(bench: LrmBench) -> None:
    """Different sizes are one job where the scheduler can, else one for each; nobody gets more nodes than asked for."""
    request = bench.request("twosizes", (2, 300, 1), (1, 900, 2))
    jobs = bench.lrm.splits(request.components)
    assert [component for job in jobs for component in job] == list(request.components)
    if len(jobs) > 1:
        return
    with submitted(bench, request) as lrm_id:
        pilots = bench.pilots("twosizes", 3)
        assert [pilot["rank"] for pilot in pilots] == [0, 1, 2]
        view = eventually(lambda: (now := bench.view(lrm_id)) and len(now.nodes) == 3 and now)
        assert [pilot["node"] for pilot in pilots] == list(view.nodes)


def test_cancelling_a_running_job_gives_every_pilot_notice(bench: LrmBench) -> None:
    """All pilots hear a signal before they are killed, and the job ends."""
    lrm_id = bench.submit(bench.request("cancelrun", (4, 400, 1)))
    bench.pilots("cancelrun", 4)
    bench.run(lambda: bench.lrm.cancel(lrm_id))
    bench.pilots("cancelrun", 4, "signal")
    bench.over(lrm_id)


def test_a_cancelled_waiting_job_never_starts(bench: LrmBench) -> None:
    """The job in front keeps all nodes; the one behind says why it waits, is cancelled, and no pilot of it runs."""
    with submitted(bench, bench.request("infront", (NODES, 400, 1))):
        bench.pilots("infront", NODES)
        lrm_id = bench.submit(bench.request("behind", ONE))
        view = eventually(lambda: (now := bench.view(lrm_id)) and now.reason and now)
        assert view.says is LrmSays.WAITING
        bench.run(lambda: bench.lrm.cancel(lrm_id))
        bench.over(lrm_id)
    assert not list((bench.jobs / "behind").iterdir())


def test_a_job_behind_another_starts_when_that_one_is_over(bench: LrmBench) -> None:
    """The queue moves on by itself."""
    first = bench.submit(bench.request("earlier", (NODES, 400, 1), seconds=60))
    bench.pilots("earlier", NODES)
    with submitted(bench, bench.request("later", (2, 400, 1))):
        bench.run(lambda: bench.lrm.cancel(first))
        bench.pilots("later", 2)


def test_a_job_whose_pilots_end_is_over(bench: LrmBench) -> None:
    """No cancel is needed."""
    lrm_id = bench.submit(bench.request("endsitself", (2, 400, 1), stay=0.2))
    bench.pilots("endsitself", 2)
    bench.over(lrm_id)


def test_cancelling_what_is_over_or_unknown_is_no_error(bench: LrmBench) -> None:
    """Whoever cancels wants it gone, and gone it is."""
    lrm_id = bench.submit(bench.request("twice", ONE))
    for _ in range(2):
        bench.run(lambda: bench.lrm.cancel(lrm_id))
    bench.over(lrm_id)
    for gone in (lrm_id, "987654321"):
        bench.run(lambda gone=gone: bench.lrm.cancel(gone))


def test_what_no_node_has_is_never(bench: LrmBench) -> None:
    """A dry run tells what would be refused for ever, and nothing is submitted by it."""
    before = len(bench.run(bench.lrm.list))
    for size in ((1, 900_000, 1), (NODES + 1, 400, 1)):
        with pytest.raises(NeverError):
            bench.run(lambda size=size: bench.lrm.rehearse(bench.request("toomuch", size)))
    bench.run(lambda: bench.lrm.rehearse(bench.request("fits", ONE)))
    assert len(bench.run(bench.lrm.list)) == before


def test_an_ordinary_user_extends_nothing(bench: LrmBench) -> None:
    """The limit of a running job is the operators' business."""
    with submitted(bench, bench.request("extend", ONE, seconds=120)) as lrm_id:
        bench.pilots("extend", 1)
        with pytest.raises(DeniedError):
            bench.run(lambda: bench.lrm.extend(lrm_id, 3600))


def test_the_survey_knows_the_nodes(bench: LrmBench) -> None:
    """Its queues say how much a job could have."""
    survey = bench.run(bench.lrm.survey)
    assert survey.version
    assert max(queue.nodes for queue in survey.queues) == NODES
    assert all(queue.memory_mb is None or queue.memory_mb >= 400 for queue in survey.queues)


@pytest.mark.parametrize("tag", ["-rf", "a b", "a\nb", "", "A", "$(id)"])
def test_a_tag_is_a_tag(bench: LrmBench, tag: str) -> None:
    """What could be an option, a line or a command is refused before anything runs."""
    request = JobRequest(tag=tag, components=bench.request("tag", ONE).components, seconds=60)
    with pytest.raises(InvalidError):
        bench.submit(request)
