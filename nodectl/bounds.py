"""What values the keys of a node's configuration may have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.hypervisor import settings
from flyinglow.nodectl.hypervisor.settings import ACCELERATORS, DRIVERS
from flyinglow.nodectl.images import address
from flyinglow.nodectl.images.listening import check_peers

if TYPE_CHECKING:
    from flyinglow.nodectl.config import Config

SPOOFING_RULES = ("nft", "ebtables", "off")
MEMORIES = ("accounted", "cgroup", "hugepages", "xen", "simulated")
LONGEST_INTERFACE = 15  # characters in the kernel's name of one
HIGHEST_VLAN = 4094
LONGEST = 10**15  # no figure of a configuration is larger; NaN and infinity are not smaller
VLAN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\.([1-9][0-9]{0,3})\Z")  # an interface of the node, and a VLAN of it
TRUNK = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,9}\Z")  # with ".4094" behind it still names an interface
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")


def check(config: Config) -> None:
    """Raise InvalidError for the first value that is out of its bounds."""
    for name in ("probe_seconds", "minimum_free_disk_mb", "console_max_mb", "watch_seconds", "start_seconds"):
        at_least(getattr(config, name), name, 0)
    at_least(config.settle_seconds, "settle_seconds", 0)
    _check_images(config)
    if config.run_as is not None and not USER.match(str(config.run_as)):
        raise InvalidError(f"configuration key run_as must be the name of a user, not {config.run_as!r}")
    for name, floor in (("workers", 1), ("tb_size", 1), ("minimum_node_mb", 0)):
        _whole(getattr(config, name), name, floor)
    for name, floor in (("memory_mb", 1), ("cpus", 1), ("base_mb", 1), ("vm_overhead_mb", 0)):
        if getattr(config, name) is not None:
            _whole(getattr(config, name), name, floor)
    for name, words in (("driver", DRIVERS), ("accelerator", ACCELERATORS), ("memory", MEMORIES)):
        if getattr(config, name) not in words:
            raise InvalidError(f"configuration key {name} must be one of {', '.join(words)}")
    if config.spoofing_rules not in SPOOFING_RULES:
        raise InvalidError(f"configuration key spoofing_rules must be one of {', '.join(SPOOFING_RULES)}")
    settings.check(config.driver, config.placement, config.vm_cgroup, config.libvirt)
    _check_vlans(config.vlans)
    if config.trunk and not TRUNK.match(str(config.trunk)):
        raise InvalidError(f"configuration key trunk must be an interface of up to 10 characters, not {config.trunk!r}")
    _check_groups(config)


def _check_images(config: Config) -> None:
    for name, floor in (("image_max_mb", 1), ("image_tries", 1), ("cache_max_mb", 1)):
        _whole(getattr(config, name), name, floor)
    at_least(config.image_timeout, "image_timeout", 1)
    check_peers(config.peer_address, config.peer_port)
    for name in ("image_authorities", "image_identity", "image_known_hosts", "ticket_signers"):
        value = getattr(config, name)
        if value is not None and not str(value).startswith("/"):
            raise InvalidError(f"configuration key {name} must be an absolute path, not {value!r}")
    for text in (*config.image_sources, *config.save_targets, *((config.image_store,) if config.image_store else ())):
        try:
            address.read(text)
        except InvalidError as error:
            raise InvalidError(
                f"configuration key image_sources, image_store or save_targets: {error.message}"
            ) from error


def _check_vlans(vlans: object) -> None:
    expect(vlans, dict, "vlans")
    for bridge, wire in dict(vlans).items():  # type: ignore[call-overload]
        found = VLAN.match(wire) if isinstance(wire, str) else None
        if found is None or len(wire) > LONGEST_INTERFACE or int(found.group(1)) > HIGHEST_VLAN:
            raise InvalidError(
                f"configuration key vlans.{bridge} must be INTERFACE.VLAN in {LONGEST_INTERFACE} characters, "
                f"VLAN from 1 to {HIGHEST_VLAN}, not {wire!r}"
            )


def _check_groups(config: Config) -> None:
    for name in ("memory_cgroup", "vm_cgroup"):
        value = getattr(config, name)
        if not isinstance(value, str) or (value and (not value.startswith("/") or ".." in value.split("/"))):
            raise InvalidError(f"configuration key {name} must be the absolute path of a control group, not {value!r}")
    if config.memory == "cgroup" and not config.memory_cgroup:
        raise InvalidError("configuration key memory_cgroup must name the control group of the node's jobs")


def at_least(value: object, name: str, floor: int) -> None:
    """Raise InvalidError unless a value is a number that is not below the floor."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not floor <= value < LONGEST:
        raise InvalidError(f"configuration key {name} must be a number of at least {floor}, not {value!r}")


def _whole(value: object, name: str, floor: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < floor:
        raise InvalidError(f"configuration key {name} must be a whole number of at least {floor}, not {value!r}")


def expect(value: object, kind: type, where: str) -> None:
    """Raise InvalidError unless a value is a JSON object (dict) or list."""
    if not isinstance(value, kind):
        raise InvalidError(f"{where} must be a JSON {'object' if kind is dict else 'list'}")
