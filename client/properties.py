"""Reads resource property documents into the values of ``values``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.client.names import clark
from flyinglow.client.reading import child, flag, moment, number, point, seconds, text, texts
from flyinglow.client.values import (
    Address,
    Allocation,
    FreeNow,
    GuestReport,
    ImageOffer,
    LeasedDisk,
    Member,
    NetworkOffer,
    Offers,
    Properties,
    Saved,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.client.resource import Resource

    Resolve = Callable[[_Element], Resource]


def read(document: _Element, kind: str, resolve: Resolve) -> Properties:
    """Read a workspace's, group's or ensemble's document; ``resolve`` makes resources of endpoint references."""
    schedule, timing, census = (child(document, name) for name in ("Schedule", "Timing", "Census"))
    return Properties(
        kind=kind,
        name=text(document, "Name") or "",
        owner=text(document, "Owner") or "",
        state=text(document, "State") or "",
        task=text(document, "Task"),
        reason=text(document, "Reason") or "",
        tag=text(document, "Tag"),
        node=text(document, "Node"),
        nics=networking(child(document, "Networking")),
        accepted_at=moment(schedule, "AcceptedTime"),
        start_by=moment(schedule, "StartBy"),
        starts_at=moment(schedule, "ExpectedStart"),
        waits=text(schedule, "WaitingReason") or "",
        ends_at=moment(document, "rl:TerminationTime"),
        duration=seconds(schedule, "Duration"),
        allocation=_allocation(child(document, "ResourceAllocation")),
        initial_state=text(document, "InitialState"),
        end_action=text(document, "EndAction"),
        save_to=text(document, "SaveTo"),
        saves_at=moment(schedule, "SavingTime"),
        saved=_saved(child(document, "Saved")),
        disks=_disks(child(document, "Disks")),
        timing=_stamps(timing),
        measured=_measured(timing),
        guest=guest(child(document, "ContextStatus")),
        members=members(child(document, "Members"), resolve),
        census=None if census is None else counts(census),
        total=number(census, "Total"),
        open=flag(document, "Open"),
        current_time=moment(document, "rl:CurrentTime"),
    )


def networking(element: _Element | None) -> tuple[Address, ...]:
    """Read an element of type fl:NetworkingType."""
    if element is None:
        return ()
    return tuple(_nic(nic) for nic in element.iterfind(clark("NIC")))


def guest(element: _Element | None) -> GuestReport | None:
    """Read an element of type fl:ContextStatusType."""
    if element is None:
        return None
    return GuestReport(
        status=text(element, "Status") or "",
        message=text(element, "Message") or "",
        at=moment(element, "Time"),
        values={each.get("name", ""): each.text or "" for each in element.iterfind(clark("Value"))},
    )


def members(element: _Element | None, resolve: Resolve) -> tuple[Member, ...]:
    """Read the Member children of an element."""
    if element is None:
        return ()
    return tuple(_member(each, resolve) for each in element.iterfind(clark("Member")))


def counts(census: _Element) -> dict[str, int]:
    """Read the counts of a census, by state."""
    return {each.get("state", ""): int(each.text or 0) for each in census.iterfind(clark("Count"))}


def offers(document: _Element) -> Offers:
    """Read the factory's document."""
    most, free = child(document, "Offers"), child(document, "FreeNow")
    nets, images = child(document, "Networks"), child(document, "Images")
    return Offers(
        maximum_memory_mb=number(most, "MaximumMemoryMB") or 0,
        maximum_cpus=number(most, "MaximumCPUs") or 0,
        maximum_disk_mb=number(most, "MaximumDiskMB") or 0,
        maximum_members=number(most, "MaximumMembers") or 0,
        immediate=flag(most, "Immediate"),
        architectures=texts(most, "Architecture"),
        vmms=texts(most, "VMM"),
        image_schemes=texts(most, "ImageScheme"),
        default_duration=seconds(document, "DefaultDuration") or 0,
        maximum_duration=seconds(document, "MaximumDuration") or 0,
        free=_free(free),
        networks=() if nets is None else tuple(_network(each) for each in nets.iterfind(clark("Network"))),
        images=() if images is None else tuple(_image(each) for each in images.iterfind(clark("Image"))),
    )


def _nic(element: _Element) -> Address:
    return Address(
        network=text(element, "Network") or "",
        name=text(element, "Name"),
        ip=text(element, "IPAddress") or "",
        prefix=number(element, "PrefixLength"),
        mac=text(element, "MACAddress"),
        hostname=text(element, "Hostname") or "",
        gateway=text(element, "Gateway"),
        dns=texts(element, "DNS"),
        ip6=text(element, "IPv6Address"),
        prefix6=number(element, "IPv6PrefixLength"),
        gateway6=text(element, "IPv6Gateway"),
        dns6=texts(element, "IPv6DNS"),
        delivery=text(element, "Delivery") or "dhcp",
        dropped={each.get("kind", ""): int(each.text or 0) for each in element.iterfind(clark("Dropped"))},
    )


def _member(element: _Element, resolve: Resolve) -> Member:
    reference = child(element, "wsa:EndpointReference")
    return Member(
        name=text(element, "Name") or "",
        resource=resolve(element if reference is None else reference),
        state=text(element, "State") or "",
        task=text(element, "Task"),
        reason=text(element, "Reason") or "",
        node=text(element, "Node"),
        nics=networking(child(element, "Networking")),
    )


def _allocation(element: _Element | None) -> Allocation | None:
    if element is None:
        return None
    memory, cpus, disk = (number(element, name) or 0 for name in ("MemoryMB", "CPUs", "DiskMB"))
    return Allocation(memory_mb=memory, cpus=cpus, disk_mb=disk)


def _disks(element: _Element | None) -> tuple[LeasedDisk, ...]:
    return () if element is None else tuple(_disk(each) for each in element.iterfind(clark("Disk")))


def _disk(element: _Element) -> LeasedDisk:
    return LeasedDisk(
        name=text(element, "Name") or "",
        image=text(element, "Image"),
        partition=text(element, "Partition"),
        blank_mb=number(element, "BlankMB"),
        mount=text(element, "MountPoint"),
        read_only=flag(element, "ReadOnly"),
        file_system=text(element, "FileSystem"),
        sha256=text(element, "SHA256"),
        format=text(element, "Format"),
    )


def _saved(element: _Element | None) -> Saved | None:
    if element is None:
        return None
    return Saved(
        target=text(element, "Target"),
        sha256=text(element, "SHA256"),
        disk=text(element, "Disk"),
        format=text(element, "Format"),
        bytes=number(element, "Bytes"),
        at=moment(element, "Time"),
    )


def _stamps(timing: _Element | None) -> dict[str, datetime]:
    found = [] if timing is None else timing.findall(clark("Stamp"))
    return {each.get("name", ""): point(each.text or "") for each in found}


def _measured(timing: _Element | None) -> dict[str, float]:
    found = [] if timing is None else timing.findall(clark("Measured"))
    return {each.get("name", ""): float(each.text or 0) for each in found}


def _free(element: _Element | None) -> FreeNow:
    return FreeNow(
        memory_mb=number(element, "MemoryMB") or 0,
        cpus=number(element, "CPUs") or 0,
        disk_mb=number(element, "DiskMB") or 0,
        nodes=number(element, "Nodes"),
        largest_memory_mb=number(element, "LargestMemoryMB"),
        largest_cpus=number(element, "LargestCPUs"),
        largest_disk_mb=number(element, "LargestDiskMB"),
    )


def _network(element: _Element) -> NetworkOffer:
    addresses, free = (number(element, name) or 0 for name in ("Addresses", "FreeAddresses"))
    return NetworkOffer(name=text(element, "Name") or "", addresses=addresses, free_addresses=free)


def _image(element: _Element) -> ImageOffer:
    return ImageOffer(
        name=text(element, "Name") or "",
        format=text(element, "Format"),
        architecture=text(element, "Architecture"),
        vmm=text(element, "VMM"),
        sha256=text(element, "SHA256"),
        size_mb=number(element, "SizeMB"),
        description=text(element, "Description") or "",
        partition=text(element, "Partition") in {"true", "1"},
    )
