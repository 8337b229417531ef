"""Validate says what Create would do, Estimate when; neither leaves a trace."""

from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flyinglow.access.identity import LOCAL
from flyinglow.backend.api import Request
from flyinglow.factory.digest import digest
from flyinglow.factory.model import CreateRequest
from flyinglow.nodectl.errors import DeniedError, FlyingLowError, NeverError, TransientError
from flyinglow.workspace.model import Kind
from rigs.site import MakeSite, Site, part, request, whole

QUEUE = {"queue": True, "grant_after": 900.0}


def answered(site: Site, asked: Any) -> Any:
    async def wait() -> Any:
        return await asked if isinstance(asked, Awaitable) else asked

    return site.run(wait())


def refusal(site: Site, verb: str, asked: CreateRequest) -> FlyingLowError:
    with pytest.raises(FlyingLowError) as caught:
        answered(site, getattr(site.factory, verb)(LOCAL, asked))
    return caught.value


def outcome(site: Site, verb: str, asked: CreateRequest) -> tuple[str, str] | None:
    """Return by which error a request is refused, or None."""
    try:
        answered(site, getattr(site.factory, verb)(LOCAL, asked))
    except FlyingLowError as error:
        return error.kind, error.message
    return None


def test_validate_says_what_would_be_leased_and_leases_nothing(site: Site) -> None:
    before = site.free()
    found = site.factory.validate(LOCAL, request(part("ce"), part("wn", 3), duration=700, token="t"))
    assert (found.workspaces, found.duration, found.waits) == (4, 700, "")  # type: ignore[union-attr]
    site.settle()
    assert (site.rows(), site.events, site.free()) == ([], [], before)
    assert site.create(part("other"), token="t").resources  # the token was not used up


@pytest.mark.parametrize(
    "asked",
    [
        request(part("a", memory_mb=100_000)),
        request(part("a", 12, memory_mb=900)),
        request(part("a", image="unknown")),
        request(part("a", networks=("nowhere",))),
        request(part("a"), part("a")),
        request(part("a"), duration=10**9),
        request(part("a", 3), token="used"),
        request(part("a"), join="no such ensemble"),
        request(part("a", 14, memory_mb=1, networks=("private",))),
    ],
    ids=["never", "not now", "image", "network", "names", "duration", "token", "join", "addresses"],
)
@pytest.mark.parametrize("queue", [False, True])
def test_validate_refuses_as_create_does(make_site: MakeSite, queue: bool, asked: CreateRequest) -> None:
    site = make_site(options=QUEUE if queue else {}, addresses=14)
    site.create(part("full", 1, memory_mb=900), token="used")
    site.settle()
    states = site.states()
    foreseen = outcome(site, "validate", asked)
    assert site.states() == states
    assert foreseen == outcome(site, "create", asked)
    assert foreseen or queue  # without a queue each of these is refused


def test_a_joined_ensemble_stays_as_it_was(site: Site) -> None:
    ensemble = site.create(part("a"), open=True)
    before = site.store.view(lambda tx: tx.collections.select(Kind.ENSEMBLE))
    answered(site, site.factory.validate(LOCAL, request(part("b"), join=whole(ensemble).id)))
    assert site.store.view(lambda tx: tx.collections.select(Kind.ENSEMBLE)) == before
    assert refusal(site, "validate", request(part("a"), join=whole(ensemble).id)).kind == "invalid"
    site.create(part("b"), join=whole(ensemble).id)
    (joined,) = site.store.view(lambda tx: tx.collections.select(Kind.ENSEMBLE))
    assert joined.version > before[0].version  # a Done in parallel would have met it


def test_a_queue_is_asked_for_its_own_dry_run(make_site: MakeSite) -> None:
    site = make_site(options=QUEUE)
    asked: list[Request] = []
    rehearse = site.backend.rehearse  # type: ignore[attr-defined]

    async def noted(wanted: Request) -> Any:
        asked.append(wanted)
        return await rehearse(wanted)

    site.backend.rehearse = noted  # type: ignore[attr-defined]
    wanted = request(part("a", 2), duration=700, preemptable=True)
    assert answered(site, site.factory.validate(LOCAL, wanted)).waits == "waits for its turn in the simulated queue"
    outlook = answered(site, site.factory.estimate(LOCAL, wanted))
    assert (outlook.starts_in, outlook.starts_at) == (900.0, site.now() + timedelta(seconds=900))
    assert outlook.reason == "waits for its turn in the simulated queue"
    assert {(len(one.demands), one.duration, one.preemptable) for one in asked} == {(2, 700, True)}
    assert site.rows() == []


@pytest.mark.parametrize("error", [NeverError("no partition has it"), DeniedError("no"), TransientError("no answer")])
@pytest.mark.parametrize("verb", ["validate", "estimate"])
def test_what_the_dry_run_refuses_is_refused(make_site: MakeSite, verb: str, error: FlyingLowError) -> None:
    site = make_site(options=QUEUE)

    async def rehearse(_request: object) -> None:
        raise error

    site.backend.rehearse = rehearse  # type: ignore[attr-defined]
    assert refusal(site, verb, request(part("a"))) is error


def test_an_estimate_without_a_queue(site: Site) -> None:
    now = answered(site, site.factory.estimate(LOCAL, request(part("a"))))
    assert (now.starts_in, now.starts_at, now.reason) == (0.0, site.now(), "")
    site.create(part("full", 2, memory_mb=900))
    later = answered(site, site.factory.estimate(LOCAL, request(part("a", 2, memory_mb=900))))
    assert (later.starts_in, later.starts_at) == (None, None)
    assert "memory" in later.reason
    assert refusal(site, "estimate", request(part("a", memory_mb=100_000))).kind == "never"


def test_preemptable_is_kept_and_asked_for(make_site: MakeSite) -> None:
    site = make_site(options=QUEUE)
    site.create(part("a", 2), preemptable=True)
    assert {row.preemptable for row in site.rows()} == {True}
    assert {row.reason for row in site.rows()} == {"waits for its turn in the simulated queue"}


def test_a_request_that_is_not_preemptable_has_the_mark_it_always_had() -> None:
    asked = request(part("a"))
    assert digest(asked) == "55b30a231795c8725271b821d20efd9ff8d0eca6462cf889fc8f9ce0c54a43df"
    assert digest(replace(asked, preemptable=True)) != digest(asked)
