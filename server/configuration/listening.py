"""The keys of the listeners: ``[listen.client]``, ``[listen.node]`` and ``[listen.guest]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flyinglow.server.configuration.keys import doc


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One of the three listeners, with limits of its own."""

    address: str = doc("Address to listen on. Port 0 takes a free one.", default="127.0.0.1")
    port: int = doc("TCP port.", default=0)
    base_url: str = doc(
        "URL that clients are told (soap:address, EPRs); empty: made from address and port.", default=""
    )
    insecure: bool = doc("Allow an address other than loopback although nobody is authenticated yet.", default=False)
    max_body: int = doc("Bytes of a request's body.", default=1 << 20)
    max_depth: int = doc("Nesting of a request's elements.", default=64)
    max_elements: int = doc("Elements in one request.", default=20_000)
    max_headers: int = doc("SOAP header blocks in one request.", default=64)
    timeout: float = doc("Seconds for a request to arrive whole.", default=30.0)
    max_connections: int = doc("Connections open at once.", default=512)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientListener(Listener):
    """SOAP clients."""

    port: int = doc("TCP port.", default=8480)
    insecure: bool = doc("Allow an address other than loopback although nobody is authenticated.", default=False)
    certificate: Path | None = doc("TLS certificate with its chain (PEM); none: plain HTTP.", default=None)
    private_key: Path | None = doc("Key of the certificate (PEM), readable by the daemon's user only.", default=None)
    ca_directory: Path | None = doc(
        "Authorities of callers' certificates under hashed names (xxxxxxxx.0), with CRLs (xxxxxxxx.r0) and signing "
        "policies beside them, as in /etc/grid-security/certificates; none: callers are asked for no certificate.",
        default=None,
    )
    client_certificates: str = doc(
        "required: nobody without a certificate is let in; optional: who shows none must be known in another way.",
        default="required",
    )
    crl: str = doc(
        "required: every authority must have a CRL that is in force; present: those that are there count; off.",
        default="present",
    )
    crl_grace: int = doc("Seconds for which a CRL is still taken after its time for the next one.", default=0)
    mapfile: Path | None = doc("A grid-mapfile, whose names become a caller's groups; none: no mapping.", default=None)
    mapfile_only: bool = doc("Whether callers with certificates must be in the mapfile.", default=False)
    voms_directory: Path | None = doc(
        "LSC files (VO/HOST.lsc) of the VOMS servers that say what groups callers are in, as in "
        "/etc/grid-security/vomsdir; none: such attributes are not looked at.",
        default=None,
    )
    signatures: str = doc(
        "Messages signed by WS-Security (needs flyinglow[signatures] and a ca_directory): off: not looked at; beside: "
        "by the same subject as the TLS certificate; alone: a signature is enough to be known by.",
        default="off",
    )
    reload_every: float = doc("Seconds between two looks at whether these files have changed.", default=10.0)

    @property
    def group_sources(self) -> tuple[str, ...]:
        """The keys by which certificates are mapped to groups here."""
        return tuple(key for key in ("mapfile", "voms_directory") if getattr(self, key) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeListener(Listener):
    """Pilots on nodes."""

    port: int = doc("TCP port.", default=8481)
    insecure: bool = doc("Allow an address other than loopback without a certificate.", default=False)
    max_body: int = doc("Bytes of a request's body; a pilot's longest message has 8 MiB.", default=8 << 20)
    max_connections: int = doc("Connections open at once; a pilot has two.", default=4096)
    certificate: Path | None = doc("TLS certificate with its chain (PEM); none: plain HTTP.", default=None)
    private_key: Path | None = doc("Key of the certificate (PEM), readable by the daemon's user only.", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestListener(Listener):
    """Guests."""

    port: int = doc("TCP port.", default=8482)
    base_url: str = doc(
        "URL by which guests reach this listener, for example http://10.1.0.1:8482, through whatever routes or "
        "forwards their networks have; empty: guests are told of no context endpoint.",
        default="",
    )
    insecure: bool = doc("Allow an address other than loopback without a certificate.", default=False)
    max_body: int = doc("Bytes of a request's body.", default=64 << 10)
    certificate: Path | None = doc(
        "TLS certificate with its chain (PEM), of an authority that the images trust; none: plain HTTP.", default=None
    )
    private_key: Path | None = doc("Key of the certificate (PEM), readable by the daemon's user only.", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """The three listeners: client (SOAP), node (pilots' reports), guest (context)."""

    client: ClientListener = doc("SOAP clients.", default=ClientListener())
    node: NodeListener = doc("Pilots; nothing is offered here with the default back-end.", default=NodeListener())
    guest: GuestListener = doc("Guests: what they report, and the values of the others.", default=GuestListener())
