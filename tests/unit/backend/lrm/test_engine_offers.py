"""What can be asked for, what never can, what the scheduler's dry run says; the options; what operators see."""

from dataclasses import replace
from typing import Any

import pytest

from flyinglow.backend.abilities import Doorway, Estimates, Extends, Operated
from flyinglow.backend.api import Never, NotNow, PoolView, Queued, View
from flyinglow.backend.lrm.api import Queue, Survey
from flyinglow.backend.lrm.settings.options import options
from flyinglow.nodectl.errors import InvalidError, NeverError, TransientError, UnknownError
from rigs.lrm_site import Site


def test_it_is_all_that_the_seam_asks_for() -> None:
    backend = Site().backend
    for kind in (Estimates, Extends, Doorway, Operated):
        assert isinstance(backend, kind)


def test_what_the_survey_shows_is_offered_less_the_overheads() -> None:
    site = Site(nodes=3)
    limits = site.backend.limits(site.view())
    assert (limits.max_memory_mb, limits.max_cpus, limits.max_members) == (8000 - 256 - 96 - 64, 8, 3)
    assert limits.max_disk_mb == 1_000_000


def test_more_machines_than_nodes_are_offered_where_they_share_slots() -> None:
    site = Site(nodes=2, options={"policy": "keep_warm", "policy_options": {"base": "packing"}})
    assert site.backend.limits(site.view()).max_members > 3
    assert isinstance(site.backend.admit(site.claim(members=6).request, site.view()), Queued)
    decision = site.backend.admit(site.claim(members=40).request, site.view())
    assert isinstance(decision, Never)
    assert decision.figures["nodes"] == 2


def test_the_sites_own_figures_go_before_the_schedulers() -> None:
    site = Site(options={"node_memory_mb": 4000, "node_cpus": 2, "max_members": 2, "longest": 7200})
    limits = site.backend.limits(site.view())
    assert (limits.max_memory_mb, limits.max_cpus, limits.max_members) == (3840, 2, 2)


def test_whatever_fits_some_day_is_queued() -> None:
    site = Site()
    assert isinstance(site.backend.admit(site.claim(members=4).request, site.view()), Queued)
    assert site.jobs == []


@pytest.mark.parametrize(
    ("changes", "figure", "value"),
    [
        ({"memory_mb": 9000}, "node_memory_mb", 8000 - 256 - 96 - 64),
        ({"members": 5}, "nodes", 4),
        ({"duration": 100_000}, "longest", 7200 - 120),
    ],
)
def test_what_never_fits_is_refused_with_the_figure_that_stands_in_the_way(
    changes: dict[str, Any], figure: str, value: int
) -> None:
    site = Site(options={"longest": 7200})
    decision = site.backend.admit(site.claim(**changes).request, site.view())
    assert isinstance(decision, Never)
    assert decision.figures[figure] == value


def test_networks_disks_and_addresses_that_are_not_there() -> None:
    site = Site()
    request = site.claim(members=2).request
    demand = request.demands[0]
    backend = site.backend
    assert isinstance(backend.admit(replace(request, demands=(replace(demand, networks=("x",)),)), site.view()), Never)
    assert isinstance(backend.admit(replace(request, demands=(replace(demand, disk_mb=10**7),)), site.view()), Never)
    assert isinstance(backend.admit(request, View(pools={"public": PoolView(1, 1)})), Never)
    assert isinstance(backend.admit(request, View(pools={})), Never)
    short = backend.admit(request, View(pools={"public": PoolView(5, 1)}))
    assert isinstance(short, NotNow)
    assert short.figures == {"addresses.public.asked": 2, "addresses.public.free": 1}


def test_the_queue_that_jobs_go_to_is_the_one_that_counts() -> None:
    site = Site(options={"queue": "short"})
    site.backend._offers.survey = Survey(
        version="1",
        queues=(
            Queue(name="long", nodes=99, memory_mb=1 << 20, cpus=64, max_seconds=None, default=True),
            Queue(name="short", nodes=2, memory_mb=1000, cpus=2, max_seconds=600),
        ),
    )
    assert site.backend.limits(site.view()).max_members == 2
    assert isinstance(site.backend.admit(site.claim(duration=500).request, site.view()), Never)
    assert isinstance(site.backend.admit(site.claim(duration=480).request, site.view()), Queued)


def test_a_rehearsal_asks_the_scheduler_and_leaves_nothing() -> None:
    site = Site(nodes=2)
    assert site.result(site.backend.rehearse(site.claim().request)).starts_in == 0
    site.acquire("k1", 2)
    assert site.result(site.backend.rehearse(site.claim("k2").request)).starts_in is None
    with pytest.raises(NeverError):
        site.result(site.backend.rehearse(site.claim("k2", 3).request))
    site.lrm.trouble.down = True
    with pytest.raises(TransientError):
        site.result(site.backend.rehearse(site.claim("k2").request))
    assert len(site.jobs) == 1


def test_places_are_known_until_they_are_over_and_by_their_whole_name() -> None:
    site = Site()
    grants = site.acquire()
    place = grants["k1-0"].node.name
    assert site.backend.channel(place) is site.backend.channel(place)
    for wrong in (place + "x", place.partition("@")[0], "n1", "", "nobody.0@n1"):
        with pytest.raises(UnknownError):
            site.backend.channel(wrong)
    seen = site.result(site.backend.reconcile(["k1"]))
    assert seen.vms == {grant.node.name: () for grant in grants.values()}
    site.result(site.backend.release("k1"))
    site.until(lambda: site.states()[1] == ["Released"] * 2)
    with pytest.raises(UnknownError):
        site.backend.channel(place)


def test_operators_see_jobs_slots_and_why_the_scheduler_cannot_be_asked() -> None:
    site = Site(nodes=1)
    site.acquire("k1", 1)
    site.spawn(site.backend.acquire(site.claim("k2", 1)))
    site.run(40)
    shown = site.result(site.backend.inspect())
    assert [job["state"] for job in shown["jobs"]] == ["Started", "Pending"]
    assert shown["jobs"][1]["reason"] == "Resources"
    assert shown["jobs"][0]["slots"][0]["node"] == "n1"
    assert shown["failure"] is None
    assert "secret" not in str(shown)
    assert all(job.secret not in str(shown) for job in site.jobs)
    site.lrm.trouble.down = True
    site.run(40)
    assert "does not answer" in site.result(site.backend.inspect())["failure"]
    assert site.result(site.backend.confirm()) == {"held": {}, "lost": 0, "live": 0}


def test_a_closed_back_end_answers_that_it_is_going_down() -> None:
    site = Site()
    site.result(site.backend.close())
    with pytest.raises(TransientError):
        site.result(site.backend.acquire(site.claim()))
    assert site.result(site.backend.answer(b"{}", "n1")).status == 503
    timers: Any = site.clock.getDelayedCalls()
    assert [timer for timer in timers if timer.getTime() > site.clock.seconds() + 1] == []


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"lrm": "condor"}, "lrm"),
        ({}, "lrm"),
        ({"lrm": "slurm", "colour": "red"}, "colour"),
        ({"lrm": "slurm", "poll": 0}, "poll"),
        ({"lrm": "slurm", "poll": float("nan")}, "poll"),
        ({"lrm": "slurm", "share": 1.5}, "share"),
        ({"lrm": "slurm", "margin": 20}, "margin"),
        ({"lrm": "slurm", "extend": "always"}, "extend"),
        ({"lrm": "slurm", "memory_policy": "most"}, "memory_policy"),
        ({"lrm": "pbs", "dialect": "nqs"}, "dialect"),
        ({"lrm": "slurm", "queue": 7}, "queue"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(table: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidError, match=word):
        options(table)


def test_a_service_without_a_node_listener_cannot_have_pilots() -> None:
    from flyinglow.backend.api import Settings
    from flyinglow.backend.lrm.backend import create

    site = Site()
    settings = Settings(
        reactor=site.clock,
        nodes={},
        options={"lrm": "slurm"},
        news=lambda _node, _info: None,
        ledger=site.ledger,
        now=site.now,
    )
    with pytest.raises(InvalidError, match="nowhere to report"):
        create(settings)
    create(replace(settings, urls={"node": "http://head:8446"}))
