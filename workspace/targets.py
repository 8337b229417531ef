"""Where disks are saved to: a URI as lessees may give it, or one for several, in which each has a name of its own.

A URI holds no credentials: it would be stored, and shown to whoever reads the workspace. The node has keys of its own.
"""

from __future__ import annotations

import re

from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.images import address
from flyinglow.nodectl.images.address import Address
from flyinglow.workspace.model import Workspace

NAME, TAG = "{name}", "{tag}"
"""What is replaced by a workspace's name and by its tag."""

ANY_STORE = "https://store"  # which names of the store are checked against
_BRACED = re.compile(r"\{[^{}]*\}|[{}]")


def check(template: str | None, *, several: bool = False) -> str:
    """Return the URI, or the template of one, that disks are to be saved to; ``several`` need names of their own.

    Raises InvalidError, which shows no secrets.
    """
    if not template:
        raise InvalidError("SaveTo is missing, the URI to save to")
    if unknown := sorted(set(_BRACED.findall(template)) - {NAME, TAG}):
        raise InvalidError(f"SaveTo: {unknown[0][:40]!r} stands for nothing; {NAME} and {TAG} are replaced")
    own = [word for word in (NAME, TAG) if word in template]
    if several and not own:
        raise InvalidError(f"SaveTo: several would be saved under one name; put {NAME} or {TAG} where each has its own")
    place = address.read(template.replace(NAME, "vm").replace(TAG, "vm"), ANY_STORE)
    check_bare(place)
    if place.path.endswith("/"):
        raise InvalidError(f"SaveTo: {place} names no file to save to")
    return template


def check_bare(place: Address) -> None:
    """Raise InvalidError, which shows no secrets, for an address that holds credentials or may hold some."""
    if place.password is not None or (place.user is not None and place.scheme != "scp"):
        raise InvalidError(
            f"{place}: an address with user or password is refused, for it would be stored and shown; "
            f"ask the site to let its nodes in"
        )
    if "?" in place.target:
        raise InvalidError(f"{place}: what stands behind ? may be a secret, which would be stored and shown: refused")


def target(template: str, row: Workspace) -> str:
    """Return where this workspace's disk goes."""
    return template.replace(NAME, row.name).replace(TAG, row.tag)
