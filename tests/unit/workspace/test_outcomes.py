"""What requests do in which status, by the one table; and that no request ever takes an illegal step."""

import pytest

from flyinglow.access.identity import LOCAL, Identity
from flyinglow.nodectl.errors import ConflictError, TransientError, UnknownError
from flyinglow.workspace.outcomes import OUTCOMES, Do, NoOp, Refuse, ShutdownMode, Verb
from flyinglow.workspace.service import apply
from flyinglow.workspace.states import FINAL, NEXT, State, Status, Task, may_follow
from rigs.site import Site, whole
from rigs.store import NOON, workspace


def test_every_verb_has_an_outcome_in_every_status() -> None:
    assert set(OUTCOMES) == {(verb, status) for verb in Verb for status in NEXT}


@pytest.mark.parametrize(("verb", "status"), sorted(OUTCOMES, key=str))
def test_what_is_done_is_legal(verb: Verb, status: Status) -> None:
    outcome = OUTCOMES[verb, status]
    if isinstance(outcome, Do):
        assert may_follow(status, Status(status.state, outcome.task))
        last = Status(status.state, outcome.task)
        if outcome.target is State.TRANSPORT_READY and outcome.task is Task.SHUTTING_DOWN:  # and then it is saved
            assert may_follow(last, Status(State.PROPAGATED, Task.SAVING))
            last = Status(State.PROPAGATED, Task.SAVING)
        if outcome.task is not Task.RECLAIMING:
            assert may_follow(last, Status(outcome.target))


def test_destroy_is_never_refused_and_a_repeated_request_is_harmless() -> None:
    for (verb, status), outcome in OUTCOMES.items():
        if verb is Verb.DESTROY:
            assert not isinstance(outcome, Refuse)
        if isinstance(outcome, Do):
            assert isinstance(OUTCOMES[verb, Status(status.state, outcome.task)], NoOp)
        if status.state in FINAL:
            assert not isinstance(outcome, Do)


@pytest.mark.parametrize(("verb", "status"), sorted(OUTCOMES, key=str))
def test_the_table_is_what_happens(verb: Verb, status: Status) -> None:
    target = State.TRANSPORT_READY if verb is Verb.SAVE and status.task else None
    row = workspace(1, state=status.state, task=status.task, target=target)
    outcome = OUTCOMES[verb, status]
    if isinstance(outcome, Refuse):
        with pytest.raises(ConflictError, match="workspace w1 is"):
            apply(_Tx(), row, verb, now=NOON)  # type: ignore[arg-type]
        return
    after = apply(_Tx(), row, verb, now=NOON)  # type: ignore[arg-type]
    assert after.status == (Status(status.state, outcome.task) if isinstance(outcome, Do) else status)
    assert (after.destroyed_at is not None) is (verb is Verb.DESTROY)


class _Tx:
    """Takes what is written and hands it back."""

    def __init__(self) -> None:
        self.workspaces = self
        self.outbox = self

    def write(self, old: object, new: object) -> object:
        return new

    def add(self, events: object) -> None:
        """Take events."""


@pytest.mark.parametrize(
    ("mode", "state"),
    [(ShutdownMode.NORMAL, "Propagated"), (ShutdownMode.PAUSE, "Paused"), (ShutdownMode.REBOOT, "Running"),
     (ShutdownMode.TRASH, "Ended")],
)  # fmt: skip
def test_each_shutdown_mode_reaches_its_state(site: Site, mode: ShutdownMode, state: str) -> None:
    key = whole(site.create()).id
    site.settle()
    assert site.workspace.shutdown(LOCAL, key, mode).task is not None
    site.settle()
    row = site.workspace.get(LOCAL, key)
    assert (row.state, row.task) == (state, None)


def test_pause_and_start_are_harmless_when_repeated(site: Site) -> None:
    key = whole(site.create()).id
    site.settle()
    assert site.workspace.start(LOCAL, key).status == Status(State.RUNNING)
    site.workspace.shutdown(LOCAL, key, ShutdownMode.PAUSE)
    site.settle()
    assert site.workspace.shutdown(LOCAL, key, ShutdownMode.PAUSE).status == Status(State.PAUSED)
    with pytest.raises(ConflictError, match="it is paused"):
        site.workspace.shutdown(LOCAL, key, ShutdownMode.REBOOT)
    site.workspace.start(LOCAL, key)
    site.settle()
    assert site.states() == {"vm": "Running"}


def test_destroy_twice_and_foreign_and_unknown_look_alike(site: Site) -> None:
    key = whole(site.create()).id
    texts = set()
    for caller, workspace_id in ((Identity("eve"), key), (LOCAL, "0" * 32)):
        with pytest.raises(UnknownError) as refused:
            site.workspace.get(caller, workspace_id)
        texts.add(refused.value.message)
    site.workspace.destroy(LOCAL, key)
    with pytest.raises(UnknownError) as refused:
        site.workspace.destroy(LOCAL, key)
    assert {*texts, refused.value.message} == {refused.value.message}


def test_a_node_that_refuses_leaves_the_workspace_as_it_was(site: Site) -> None:
    key = whole(site.create()).id
    site.settle()
    site.simulation.fail_next("pause", ConflictError("this guest cannot be paused"))
    site.workspace.shutdown(LOCAL, key, ShutdownMode.PAUSE)
    site.settle()
    row = site.workspace.get(LOCAL, key)
    assert (row.status, row.reason) == (Status(State.RUNNING), "this guest cannot be paused")


def test_a_silent_node_is_asked_again_and_then_given_up(site: Site) -> None:
    key = whole(site.create()).id
    site.settle()
    site.simulation.fail_next("pause", TransientError("nobody there"), times=2)
    site.workspace.shutdown(LOCAL, key, ShutdownMode.PAUSE)
    site.settle()
    assert site.states() == {"vm": "Running/Pausing"}
    site.settle(site.timing.backoff(1))
    site.settle(site.timing.backoff(2))
    assert site.states() == {"vm": "Paused"}
    site.simulation.fail_next("resume", TransientError("nobody there"), times=3)
    site.workspace.start(LOCAL, key)
    for attempts in (1, 2):
        site.settle(site.timing.backoff(attempts))
    assert (site.row("vm").state, site.row("vm").task, site.row("vm").reason) == ("Paused", None, "nobody there")


def test_a_failed_restart_is_the_lessees_business_and_nobody_is_backed_out(site: Site) -> None:
    created = site.create()
    site.settle()
    site.workspace.shutdown(LOCAL, whole(created).id, ShutdownMode.NORMAL)
    site.settle()
    site.simulation.fail_next("start", ConflictError("no memory"))
    site.workspace.start(LOCAL, whole(created).id)
    site.settle()
    assert (site.row("vm").status, site.row("vm").reason) == (Status(State.PROPAGATED), "no memory")
