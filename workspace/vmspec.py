"""What a node is told to create for a workspace: its row, the node's own bridges, the image catalogue, the context."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flyinglow.backend.api import NodeState, node_name
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.messages import DiskSpec, NicSpec, VmSpec
from flyinglow.workspace.catalogue import Catalogue, Image
from flyinglow.workspace.context import context_text, hostname_of, members_text
from flyinglow.workspace.model import Disk, Nic, Workspace


def specs(
    rows: Iterable[Workspace], members: Iterable[Workspace], nodes: Mapping[str, NodeState], catalogue: Catalogue
) -> dict[str, VmSpec]:
    """Return by workspace id what its node is told; ``members`` is the whole launch set.

    Raises BrokenError for a node or an image that the site no longer has.
    """
    told = members_text(members)
    return {row.id: vm_spec(row, context_text(row, told), nodes, catalogue) for row in rows}


def vm_spec(row: Workspace, context: str, nodes: Mapping[str, NodeState], catalogue: Catalogue) -> VmSpec:
    """Return what the node of one workspace is told."""
    node = nodes.get(row.node or "")
    if node is None:
        raise BrokenError(f"workspace {row.name}: node {node_name(row.node or '')} is no longer one of this site's")
    images = [_image(row, disk, catalogue) for disk in row.disks if disk.image is not None]
    first = images[0]
    return VmSpec(
        tag=row.tag,
        name=row.name,
        memory_mb=row.allocation.memory_mb,
        cpus=row.allocation.cpus,
        disks=tuple(made for disk in row.disks if (made := _disk(row, disk, catalogue)) is not None),
        nics=tuple(_nic(nic, node) for nic in row.nics),
        kernel=first.kernel,
        initrd=first.initrd,
        append=first.append,
        hostname=hostname_of(row),
        context=context,
        user_data=row.context.user_data.decode(),
        ready_mark=first.ready_mark,
    )


def _image(row: Workspace, disk: Disk, catalogue: Catalogue) -> Image:
    image = catalogue.get(disk.image or "")
    if image is None:
        raise BrokenError(f"workspace {row.name}: the image {disk.image} is no longer in this site's catalogue")
    return image


def _disk(row: Workspace, disk: Disk, catalogue: Catalogue) -> DiskSpec | None:
    """Return the disk, or None for an image that is nothing but a kernel and an initial RAM disk."""
    if disk.image is None:
        return DiskSpec(name=disk.name, blank_mb=disk.blank_mb, read_only=disk.read_only, mount=disk.mount)
    image = _image(row, disk, catalogue)
    if image.source is None:
        return None
    return DiskSpec(
        name=disk.name,
        source=image.source,
        format=image.format,
        sha256=image.sha256,
        read_only=disk.read_only,
        mount=disk.mount,
    )


def _nic(nic: Nic, node: NodeState) -> NicSpec:
    return NicSpec(
        network=nic.network,
        mac=nic.mac,
        ip=nic.ip,
        prefix=nic.prefix,
        hostname=nic.hostname,
        bridge=node.networks.get(nic.network),
        gateway=nic.gateway,
        dns=nic.dns,
    )
