"""What must be true of a request's guests together: roles that somebody provides, a ready barrier that can open."""

from __future__ import annotations

from flyinglow.factory.model import CreateRequest, Part
from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.catalogue import Catalogue, image_of
from flyinglow.workspace.context_roles import Has, check_roles
from flyinglow.workspace.model import InitialState
from flyinglow.workspace.terms import Terms


def check_cluster(request: CreateRequest, terms: Terms, catalogue: Catalogue) -> None:
    """Raise InvalidError for the first thing that is wrong. Roles of an open ensemble are judged when it is done."""
    if not request.open and request.join is None:
        check_roles(Has(part.name, part.context) for part in request.parts)
    if request.ready_within is not None:
        _barrier(request, request.ready_within, terms, catalogue)


def _barrier(request: CreateRequest, seconds: int, terms: Terms, catalogue: Catalogue) -> None:
    duration = terms.default_duration if request.duration is None else request.duration
    if not 0 < seconds <= duration:
        raise InvalidError(
            f"a ready barrier waits for more than 0 s and no longer than the lease lasts ({duration} s); "
            f"{seconds} s were asked for"
        )
    if request.initial_state is not InitialState.RUNNING:
        raise InvalidError(f"a ready barrier goes with initial state Running, not {request.initial_state}")
    for part in request.parts:
        if not terms.reports and not _has_mark(part, catalogue):
            raise InvalidError(
                f"part {part.name}: nobody would say that its guests are ready: its image has no ready mark, and this "
                "site has no context endpoint"
            )


def _has_mark(part: Part, catalogue: Catalogue) -> bool:
    image = image_of(part.disks[0], catalogue) if part.disks else None
    return image is not None and image.ready_mark is not None
