"""The service's configuration: one TOML file as frozen dataclasses, each key documented beside its field.

``flyinglow init`` writes these very comments into a new file (``sample.py``); reading, with the line number of what is
wrong, is in ``file.py``. Durations are seconds, sizes MB (2**20 bytes) unless a key
says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyinglow.server.configuration.access import Access, Audit, PolicyTerms, Rates
from flyinglow.server.configuration.keys import doc
from flyinglow.server.configuration.listening import ClientListener, GuestListener, Listen, Listener, NodeListener
from flyinglow.server.configuration.tokens import TokenIssuer

__all__ = [
    "BackendChoice",
    "ClientListener",
    "Config",
    "GuestListener",
    "HardwareOffer",
    "Image",
    "ImageUri",
    "LeaseTerms",
    "Listen",
    "Listener",
    "Network",
    "Node",
    "NodeListener",
    "NotificationTerms",
    "Patience",
    "Server",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The daemon itself."""

    state_dir: Path = doc("Where the daemon keeps its store and its admin socket.", default=Path("/var/lib/flyinglow"))
    user: str = doc("The unprivileged user that serve becomes at once when it is started as root.", default="flyinglow")
    store: str = doc("Database URL; empty: SQLite in state_dir. PostgreSQL: postgresql+psycopg://...", default="")
    threads: int = doc("Worker threads that answer SOAP calls.", default=4)
    show_node: bool = doc("Whether lessees may see on which node a workspace runs.", default=True)
    log_format: str = doc("json or text.", default="json")
    log_level: str = doc("debug, info, warning or error.", default="info")
    reconcile_every: float = doc("Seconds between two looks at every node.", default=30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """What a lease can be."""

    default_duration: int = doc("When a request names none.", default=3600)
    maximum_duration: int = doc("The longest, extensions included.", default=7 * 86400)
    warn_before: int = doc("The warning event comes this long before the end.", default=900)
    retain: int = doc("An ended lease that nobody destroyed stays readable this long.", default=3600)
    max_members: int = doc("Workspaces in one request.", default=512)
    stranger_grace: int = doc("A VM with our mark but no row is destroyed after this long.", default=300)
    save_rate: float = doc(
        "MB/s at which nodes copy and send disks, the slowest; decides when saving begins.", default=20.0
    )
    save_margin: int = doc("Besides the disk's size, seconds to shut a guest down and to begin to save.", default=120)
    save_retry: int = doc("A disk that could not be saved before a lease's end is tried again after this.", default=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationTerms:
    """Where notifications may go, and how hard they are tried."""

    allow_loopback: bool = doc("Whether a ConsumerReference may name this machine.", default=False)
    allow_networks: tuple[str, ...] = doc(
        "Private networks (CIDR) a ConsumerReference may name; public addresses are always allowed.", default=()
    )
    ca_directory: Path | None = doc(
        "Authorities of https consumers' certificates under hashed names, with CRLs; none: those of the machine.",
        default=None,
    )
    maximum_lifetime: int = doc("The longest life of a subscription.", default=7 * 86400)
    per_owner: int = doc("Subscriptions one identity may hold; a Create counts as one.", default=1000)
    per_host: int = doc("Subscriptions that may name one consumer host; a Create counts as one.", default=200)
    filtered_per_owner: int = doc(
        "Those of an identity's subscriptions that may have a MessageContent or ProducerProperties filter.", default=200
    )
    give_up_after: int = doc("The subscription of a consumer that fails this long is paused.", default=3600)
    log_entries: int = doc("Deliveries that a subscription's log keeps.", default=100)
    log_kept: int = doc("How many seconds it keeps them.", default=86400)
    pull_points: int = doc("Pull points one identity may have.", default=20)
    pull_waits: int = doc("Fetches of one identity that may wait for a message at a time.", default=8)
    pull_messages: int = doc("Messages that a pull point keeps; the oldest make room.", default=1000)
    pull_size: int = doc("Characters that all messages of a pull point may have together.", default=2097152)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a node may take to answer an order before the order has failed."""

    create: float = doc("To make disks, fetching the image where it is not there yet.", default=600.0)
    start: float = doc("To start a VM.", default=60.0)
    operation: float = doc("To pause, resume or reboot a VM.", default=60.0)
    shutdown: float = doc("To shut a guest down, its own time (guest_shutdown) included.", default=90.0)
    guest_shutdown: float = doc("A guest that has not shut down after this long is switched off.", default=30.0)
    destroy: float = doc("To clean up after a VM; a clean-up that failed is tried again.", default=60.0)
    info: float = doc("To say how its VMs are.", default=15.0)
    save: float = doc("To copy and send a disk, where the lease's own time for that is not longer.", default=3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChoice:
    """Which VM manager is used."""

    kind: str = doc("Name in the entry-point group flyinglow.backends: default, lrm, simulated, ...", default="default")
    options: dict[str, Any] = doc(
        'The back-end\'s own keys, for example placement = "pack" or "spread".', default_factory=dict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network that NICs can ask for, with the addresses the service may lease out."""

    cidr: str = doc("The network, for example 10.1.0.0/24.")
    range: str = doc("First and last address to lease: 10.1.0.10-10.1.0.99.")
    gateway: str | None = doc("Default route of the guests; none: no route.", default=None)
    dns: tuple[str, ...] = doc("Name servers for the guests.", default=())
    cidr6: str | None = doc(
        "Its IPv6 network, at least a /96: fd00:1::/64; a NIC's address there ends in its IPv4 address. None: no IPv6.",
        default=None,
    )
    gateway6: str | None = doc("IPv6 default route of the guests; none: no route.", default=None)
    dns6: tuple[str, ...] = doc("Name servers that are reached by IPv6.", default=())
    delivery: str = doc(
        "How guests learn their addresses: dhcp, or static: from their context only, and nobody answers them.",
        default="dhcp",
    )
    vlan: int | None = doc(
        "The VLAN that it is on the site's wires, on every node; none: no business of ours.", default=None
    )
    mac_prefix: str = doc("First three bytes of the MAC addresses.", default="52:54:00")
    hostname: str = doc(
        "Host names; {n} is the address's last number(s), {network} this name.", default="{network}-{n}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A catalogue entry: an ``image.json`` written by ``flyinglow-nodectl build-guest``, or the keys themselves."""

    file: Path | None = doc(
        "An image.json with the keys below, written by build-guest; keys set here go before it.", default=None
    )
    path: str | None = doc(
        "The image on the nodes, or where they fetch it: an http, https or scp URI, or store:NAME.", default=None
    )
    sha256: str | None = doc("Its checksum; needed where nodes fetch it.", default=None)
    format: str = doc("raw or qcow2; never guessed.", default="raw")
    architecture: str = doc("Processor architecture.", default="x86_64")
    vmm: str = doc("Hypervisor it is made for.", default="qemu")
    kernel: str | None = doc("The site's own kernel for it; a tenant never names one.", default=None)
    initrd: str | None = doc("The initramfs that goes with the kernel.", default=None)
    append: str = doc("Kernel command line.", default="")
    ready_mark: str | None = doc("Console line by which the guest says that it is ready.", default=None)
    reports: bool = doc(
        "Whether its guests report to the context endpoint; where there is one, that counts and not the mark.",
        default=False,
    )
    size_mb: int | None = doc("Virtual size; none: the file's size.", default=None)
    partition: bool = doc("Whether it is a partition for leases to add, which is never booted.", default=False)
    file_system: str = doc("What a partition holds, by which its guest mounts it.", default="ext4")
    context: str = doc(
        "How its guests get their context: fw_cfg, seed, patch or none; auto: fw_cfg with QEMU, seed with Xen.",
        default="auto",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUri:
    """Images that lessees name by a URI with its sha256. Nodes fetch them, as far as their own keys allow it, too."""

    schemes: tuple[str, ...] = doc("Of store, https, http, scp (sftp) and file, what may be used.", default=("store",))
    hosts: tuple[str, ...] = doc(
        "Hosts for https, http and scp. One by its full name is trusted, whatever its address; *.example.org and * "
        "match hosts with public addresses only.",
        default=(),
    )
    directories: tuple[str, ...] = doc("Directories of the nodes below which file: images lie.", default=())
    kernels: dict[str, str] = doc(
        "Image whose kernel boots them, by architecture: {x86_64 = NAME}; none: their own boot loader.",
        default_factory=dict,
    )
    default_size_mb: int = doc("What one takes on a node when the request does not say.", default=8192)
    maximum_size_mb: int = doc("The largest that a request may name.", default=65536)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of the default back-end. More can be added while the daemon runs (flyinglow admin node add)."""

    memory_mb: int = doc("Memory for VMs.")
    cpus: int = doc("Processors for VMs.")
    disk_mb: int = doc("Disk space for VMs.")
    networks: dict[str, str] = doc(
        "Bridge by network name; an empty bridge means a user-mode network.", default_factory=dict
    )
    channel: str = doc("local or ssh.", default="local")
    reach: dict[str, Any] = doc(
        "How to get there: agent, sudo; for ssh: address, port, user, identity, known_hosts.", default_factory=dict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareOffer:
    """What of its nodes' hardware the site offers besides memory and CPUs; a node gives what its own file says."""

    dedicated_cpus: bool = doc("Whether workspaces may have CPUs of their own.", default=False)
    numa_nodes: int = doc(
        "How many NUMA nodes the nodes have, for workspaces that ask for one; 0: none may.", default=0
    )
    huge_pages: bool = doc("Whether workspaces may have their memory in huge pages.", default=False)
    devices: dict[str, int] = doc(
        "Kinds of devices for workspaces, and the most of each that one node has: {gpu = 2}.", default_factory=dict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file."""

    server: Server = doc("The daemon.", default=Server())
    listen: Listen = doc("Sockets.", default=Listen())
    lease: LeaseTerms = doc("Terms of a lease.", default=LeaseTerms())
    notification: NotificationTerms = doc("Terms of notification.", default=NotificationTerms())
    patience: Patience = doc("Patience with nodes.", default=Patience())
    backend: BackendChoice = doc("The VM manager.", default=BackendChoice())
    access: Access = doc("Roles, and the default policy.", default=Access())
    rates: Rates = doc("How many requests are taken.", default=Rates())
    audit: Audit = doc("The audit log.", default=Audit())
    network: dict[str, Network] = doc("Networks by name.", default_factory=dict)
    image: dict[str, Image] = doc("The image catalogue by name.", default_factory=dict)
    image_uri: ImageUri = doc("Images by URI.", default=ImageUri())
    hardware: HardwareOffer = doc("Hardware on offer.", default=HardwareOffer())
    node: dict[str, Node] = doc("Static nodes by name.", default_factory=dict)
    policy: dict[str, PolicyTerms] = doc("Policies: what members of groups may lease.", default_factory=dict)
    issuer: dict[str, TokenIssuer] = doc("Issuers of tokens by a name for the log.", default_factory=dict)
