"""What the doctor says of a batch scheduler, by what the scheduler answers; no job, no process."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flyinglow import __version__
from flyinglow.backend.lrm.api import JobRequest, JobView, Queue, Survey
from flyinglow.backend.lrm.settings.options import LrmOptions, options
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.nodectl.errors import TransientError
from flyinglow.server.configuration.file import parse
from flyinglow.server.configuration.settings import BackendChoice, Config
from flyinglow.server.doctor import job as doctor_job
from flyinglow.server.doctor.finding import Finding
from flyinglow.server.doctor.lrm import around, static, survey

QUICK = doctor_job.Patience(start=0.2, silence=0.05, longest=0.3, end=0.2, ask=0.01, look=0.01)
PLAIN = Survey(
    version="Slurm 24.05",
    queues=(Queue(name="batch", nodes=4, memory_mb=64000, cpus=32, max_seconds=86400, default=True),),
    notice=30,
)


class Scripted:
    """A scheduler that answers what it is told to."""

    def __init__(self, answer: Survey | Exception = PLAIN, says: LrmSays = LrmSays.RUNNING) -> None:
        self.answer, self.says = answer, says
        self.submitted: list[JobRequest] = []
        self.cancelled: list[str] = []
        self.stays = False

    def survey(self) -> Survey:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def submit(self, job: JobRequest) -> str:
        self.submitted.append(job)
        return "7"

    def list(self) -> tuple[JobView, ...]:
        says = LrmSays.ENDED if self.cancelled and not self.stays else self.says
        return tuple(
            JobView(lrm_id="7", tag=job.tag, says=says, native=says.value, reason="Resources", nodes=("n1",))
            for job in self.submitted
        )

    def cancel(self, lrm_id: str) -> None:
        self.cancelled.append(lrm_id)


class Said:
    """A job that says these things, one at a time."""

    url = "http://10.0.0.1:8481/secret"

    def __init__(self, *words: dict[str, Any]) -> None:
        self.words = list(words)

    def next(self, seconds: float) -> dict[str, Any] | None:
        return self.words.pop(0) if self.words else None


STARTED = {"what": "started", "python": "3.11.2", "executable": "/usr/bin/python3", "node": "n1"}
AGENT = {"what": "agent", "version": __version__, "said": ""}


def alive(since: float | None) -> dict[str, Any]:
    return {"what": "alive", "signal": None if since is None else "SIGTERM", "since": since}


def chosen(**table: Any) -> LrmOptions:
    return options({"lrm": "slurm", **table})


def tried(scheduler: Scripted, *words: dict[str, Any], **table: Any) -> dict[str, Finding]:
    trial = doctor_job._Trial(chosen(**table), scheduler, Said(*words), None, QUICK)  # type: ignore[arg-type]
    return {each.name: each for each in trial.findings()}


def looked(answer: Survey | Exception, **table: Any) -> dict[str, Finding]:
    return {each.name: each for each in survey(chosen(**table), Scripted(answer))}


def test_a_sound_scheduler_is_described() -> None:
    found = looked(PLAIN)
    assert all(each.ok for each in found.values())
    assert found["queue"].detail == "batch: 4 nodes, the largest 64000 MB and 32 CPUs; jobs at most 86400 s"
    assert "30 s (15 s of them the service's), limit 120 s beyond the lease" in found["grace"].detail


def test_a_grace_longer_than_the_scheduler_s_is_named_with_what_to_set() -> None:
    found = looked(replace(PLAIN, notice=10))
    assert not found["grace"].ok
    assert found["grace"].fix == "set 'grace' to 10 at most, or raise KillWait in slurm.conf"


def test_findings_of_the_survey_are_split_into_fault_and_mend() -> None:
    found = looked(replace(PLAIN, findings=("ProctrackType loses processes; set proctrack/cgroup",)))
    assert (found["scheduler's setup"].detail, found["scheduler's setup"].fix) == (
        "ProctrackType loses processes", "set proctrack/cgroup",
    )  # fmt: skip


def test_a_queue_that_is_not_there_is_named_with_those_that_are() -> None:
    found = looked(PLAIN, queue="night")
    assert not found["queue"].ok
    assert found["queue"].fix == "name one of these as 'queue': batch"


def test_a_scheduler_that_does_not_answer_is_one_finding() -> None:
    found = looked(TransientError("sinfo did not answer in 30 s"))
    assert list(found) == ["scheduler"]
    assert "sinfo did not answer" in found["scheduler"].detail


@pytest.mark.parametrize(
    ("listen", "table", "ok", "said"),
    [
        ("", {}, False, "leads no node to this machine"),
        ("address = '0.0.0.0'\ninsecure = true", {}, False, "http://0.0.0.0:8481"),
        ("address = '0.0.0.0'\ninsecure = true", {"url": "http://head:8481"}, True, "without TLS"),
        ("address = '10.0.0.1'\ncertificate = '/x'\nprivate_key = '/y'", {}, True, "https://10.0.0.1:8481; TLS, which"),
    ],
)
def test_what_pilots_are_told_must_lead_to_the_service(listen: str, table: dict[str, Any], ok: bool, said: str) -> None:
    config = parse(f"[listen.node]\n{listen}", "x")
    found = {each.name: each for each in around(config, chosen(**table))}["node listener"]
    assert found.ok is ok
    assert said in found.detail


def test_networks_without_a_bridge_or_without_addresses_are_named() -> None:
    config = parse("[network.a]\ncidr = '10.1.0.0/24'\nrange = '10.1.0.2-10.1.0.9'\n[listen.node]\nport = 1", "x")
    found = {each.name: each for each in around(config, chosen(networks={"b": "br-b"}))}
    assert 'networks] a = "BRIDGE"' in found["network a"].fix
    assert "[network.b]" in found["network b"].fix


@pytest.mark.parametrize(
    ("options_text", "said"),
    [
        ("lrm = 'slurm'\nmargin = 10", "must be longer than 'grace'"),
        ("lrm = 'lsf'", "must be one of slurm, gridengine, pbs"),
        ("lrm = 'slurm'\npolicy = 'best'", "there is no policy 'best'"),
        ("lrm = 'slurm'\nqueue = '-x'", "cannot be a queue"),
    ],
)
def test_options_that_make_no_sense_end_the_look(options_text: str, said: str) -> None:
    config = Config(backend=BackendChoice(kind="lrm", options=tomllib.loads(options_text)))
    (found,) = static(config)
    assert not found.ok
    assert said in found.detail


def test_the_grace_is_the_last_sign_of_life_after_the_notice() -> None:
    scheduler = Scripted()
    found = tried(scheduler, STARTED, AGENT, alive(None), alive(0.1), alive(29.8))
    assert all(each.ok for each in found.values())
    assert found["cancel grace"].detail.startswith("29.8 s from SIGTERM to SIGKILL; configured are 30 s.")
    assert "not measured" in found["cancel grace"].detail
    (job,) = scheduler.submitted
    assert (job.nodes, job.components[0].cpus) == (1, 1)
    assert scheduler.cancelled


def test_a_job_that_outlives_the_patience_is_no_fault() -> None:
    found = tried(Scripted(), STARTED, AGENT, alive(None), alive(200.0), {"what": "patience"})
    assert found["cancel grace"].ok
    assert found["cancel grace"].detail.startswith("more than 200 s after SIGTERM")


def edit(what: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**what, **changes}


@pytest.mark.parametrize(
    ("words", "name", "said"),
    [
        ((STARTED, AGENT, alive(None)), "cancel grace", "killed without notice"),
        ((STARTED, AGENT, alive(None), alive(9.0)), "cancel grace", "9.0 s from SIGTERM"),
        ((edit(STARTED, python="3.8.1"), AGENT, alive(None), alive(30)), "interpreter", "is Python 3.8.1"),
        ((STARTED, edit(AGENT, version="0.1"), alive(None), alive(30)), "agent through sudo", "version 0.1, and this"),
        (
            (STARTED, edit(AGENT, version=None, said="sudo: a password is required"), alive(None), alive(30)),
            "agent through sudo",
            "a password is required",
        ),
        (
            (STARTED, AGENT, {"what": "service", "reached": False, "said": "refused"}, alive(None), alive(30)),
            "service from a node",
            "does not reach",
        ),
    ],
)
def test_each_fault_of_a_node_is_named_alone(words: tuple[dict[str, Any], ...], name: str, said: str) -> None:
    found = tried(Scripted(), *words)
    assert [each for each in found if not found[each].ok] == [name]
    assert said in found[name].detail
    assert found[name].fix


@pytest.mark.parametrize(
    ("says", "said"),
    [
        (LrmSays.WAITING, "was not started within 0.2 s: waiting Resources"),
        (LrmSays.RUNNING, "runs on n1, but nothing was heard of it"),
        (LrmSays.ENDED, "ended by itself before it said anything"),
    ],
)
def test_a_job_that_says_nothing_is_told_by_what_the_scheduler_knows(says: LrmSays, said: str) -> None:
    scheduler = Scripted(says=says)
    found = tried(scheduler)
    assert said in found["job"].detail
    assert found["end of the job"].ok
    assert bool(scheduler.cancelled) is (says is not LrmSays.ENDED)


def test_a_job_that_stays_is_named_at_the_end() -> None:
    scheduler = Scripted()
    scheduler.stays = True
    found = tried(scheduler, STARTED, AGENT, alive(None), alive(30.0))
    assert found["end of the job"].fix == "cancel the job 7 by hand"
    assert len(scheduler.cancelled) > 1


def test_a_user_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    config = parse("[server]\nuser = 'no-such-user'\n[backend]\nkind = 'lrm'\n[backend.options]\nlrm = 'slurm'", "x")
    (found,) = static(config)
    assert "there is no user no-such-user" in found.detail


def test_the_job_is_ended_when_the_doctor_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> Callable[[], None]:
        raise RuntimeError("hiccup")

    monkeypatch.setattr(doctor_job._Trial, "_told", broken)
    scheduler = Scripted()
    with pytest.raises(RuntimeError, match="hiccup"):
        tried(scheduler, STARTED, AGENT, alive(None))
    assert scheduler.cancelled
