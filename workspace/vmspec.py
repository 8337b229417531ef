"""What a node is told to create for a workspace: its row, the node's own bridges, the image catalogue, the context."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

from flyinglow.backend.api import NodeState, node_name
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.messages import DiskSpec, GuestFile, HardwareSpec, NicSpec, VmSpec
from flyinglow.workspace.catalogue import Catalogue, Image, image_of, is_uri
from flyinglow.workspace.context import Mounted, context_text, disks_text, hostname_of, members_text
from flyinglow.workspace.context_endpoint import Endpoint
from flyinglow.workspace.model import Disk, File, Nic, Workspace


def specs(
    rows: Iterable[Workspace],
    members: Iterable[Workspace],
    nodes: Mapping[str, NodeState],
    catalogue: Catalogue,
    endpoint: Endpoint | None = None,
) -> dict[str, VmSpec]:
    """Return by workspace id what its node is told; ``members`` is the whole launch set.

    ``endpoint`` is where the guests report to: one whose image does so is ready when it has said so there.

    Raises BrokenError for a node or an image that the site no longer has.
    """
    told = members_text(members)
    made = {row.id: vm_spec(row, context_text(row, told, endpoint), nodes, catalogue) for row in rows}
    if endpoint is None:
        return made
    reporting = {row.id for row in rows if (image := image_of(row.disks[0], catalogue)) and image.reports}
    return {id_: replace(spec, ready_mark=None) if id_ in reporting else spec for id_, spec in made.items()}


def vm_spec(row: Workspace, context: str, nodes: Mapping[str, NodeState], catalogue: Catalogue) -> VmSpec:
    """Return what the node of one workspace is told."""
    node = nodes.get(row.node or "")
    if node is None:
        raise BrokenError(f"workspace {row.name}: node {node_name(row.node or '')} is no longer one of this site's")
    images = [_image(row, disk, catalogue) for disk in row.disks if disk.image is not None]
    first = images[0]
    disks = [(disk, made) for disk in row.disks if (made := _disk(row, disk, catalogue)) is not None]
    return VmSpec(
        tag=row.tag,
        name=row.name,
        memory_mb=row.allocation.memory_mb,
        cpus=row.allocation.cpus,
        disks=tuple(made for _, made in disks),
        nics=tuple(_nic(nic, node) for nic in row.nics),
        kernel=first.kernel,
        initrd=first.initrd,
        append=first.append,
        hostname=hostname_of(row),
        context=context + disks_text(_mounted(number, *both, catalogue) for number, both in enumerate(disks)),
        user_data=row.context.user_data.decode(),
        ready_mark=first.ready_mark,
        files=tuple(_file(file) for file in row.context.files),
        keys=row.context.keys,
        delivery=first.context,
        hardware=HardwareSpec(**asdict(row.hardware)),
    )


def _image(row: Workspace, disk: Disk, catalogue: Catalogue) -> Image:
    image = image_of(disk, catalogue)
    if image is None:
        name = disk.kernel_from or disk.image or disk.partition
        raise BrokenError(f"workspace {row.name}: the image {name} is no longer in this site's catalogue")
    return image


def _disk(row: Workspace, disk: Disk, catalogue: Catalogue) -> DiskSpec | None:
    """Return the disk, or None for an image that is nothing but a kernel and an initial RAM disk."""
    if disk.blank_mb is not None:
        return DiskSpec(
            name=disk.name,
            blank_mb=disk.blank_mb,
            read_only=disk.read_only,
            mount=disk.mount,
            file_system=_file_system(disk, catalogue),
        )
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
        public=disk.public,
        most_mb=disk.size_mb if is_uri(disk.image or "") else None,
    )


def _file_system(disk: Disk, catalogue: Catalogue) -> str | None:
    if disk.blank_mb is not None:
        return disk.file_system or ("ext4" if disk.mount else None)
    image = image_of(disk, catalogue)
    return image.file_system if image else None


def _mounted(number: int, disk: Disk, made: DiskSpec, catalogue: Catalogue) -> Mounted | None:
    """Return where a guest finds a disk that it is to mount or to swap on."""
    form = _file_system(disk, catalogue)
    if form is None or (made.mount is None and form != "swap"):
        return None
    return Mounted(number=number, name=made.name, file_system=form, mount=made.mount, read_only=made.read_only)


def _file(file: File) -> GuestFile:
    return GuestFile(path=file.path, content=b64encode(file.content).decode("ascii"), mode=file.mode)


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
        ip6=nic.ip6,
        prefix6=nic.prefix6 or 64,
        gateway6=nic.gateway6,
        dns6=nic.dns6,
        delivery=nic.delivery,
        vlan=nic.vlan,
    )
