"""The ways by which context gets into a guest; an image's catalogue entry names the one that the image understands."""

from __future__ import annotations

from enum import Enum

from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.messages import VmSpec

AUTO = "auto"
PATCHED = "disk0.patched"  # the copy of the image into which files are written, in the VM's directory


class Way(str, Enum):
    """How a guest gets its context."""

    FW_CFG = "fw_cfg"  # items of QEMU's firmware configuration device, which the guest's kernel shows as files
    SEED = "seed"  # a volume of its own, labelled as cloud-init's data source NoCloud looks for it
    PATCH = "patch"  # files are written into the VM's own copy of the image: the paper's way
    NONE = "none"  # it is not told anything


NAMES = (AUTO, *(way.value for way in Way))


def check(name: object) -> None:
    """Raise InvalidError when there is no such way."""
    if name not in NAMES:
        raise InvalidError(f"context gets into a guest by one of {', '.join(NAMES)}, not by {name!r}")


def chosen(spec: VmSpec, driver: str) -> Way:
    """Return the way for a VM. Raises InvalidError when this node's driver does not have it."""
    if spec.delivery == AUTO:
        return Way.SEED if driver == "xen" else Way.FW_CFG
    way = Way(spec.delivery)
    if way is Way.FW_CFG and driver == "xen":
        raise InvalidError("Xen has no fw_cfg: the image's catalogue entry needs another way for its context")
    return way
