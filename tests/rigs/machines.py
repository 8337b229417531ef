"""The two hypervisors that scenarios on a batch scheduler are gone through with: the simulated one, and QEMU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rigs.guest import IMAGES, Guest


@pytest.fixture(scope="module", params=["simulated", pytest.param("qemu", marks=pytest.mark.full)])
def machines(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """Give what ``slurm_service`` needs for VMs that are pretended, or for real guests in QEMU (in the full tests)."""
    if request.param == "simulated":
        return {}
    guest: Guest = request.getfixturevalue("guest_image")
    return {"image": guest.entry, "nodectl": {"images": [str(IMAGES)]}}
