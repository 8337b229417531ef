"""A service that knows its callers by certificates, and its authority: ``Grid(directory)``, then ``grid.keys``."""

from __future__ import annotations

from pathlib import Path

from flyinglow.client import Credential as Shown
from flyinglow.client import Site, connect
from rigs.authority import Authority, Credential
from rigs.daemon import Daemon


class Grid:
    """An authority, its directory, and a host certificate for a service on loopback."""

    def __init__(self, directory: Path, *, rsa_bits: int | None = None) -> None:
        self.directory = directory
        self.root = Authority.make(rsa_bits=rsa_bits)
        self.authorities = self.root.install(directory / "certificates")
        self.host = self.root.host().write(directory, "host")

    @property
    def keys(self) -> str:
        """The lines of ``[listen.client]``."""
        certificate, key = self.host
        return f'certificate = "{certificate}"\nprivate_key = "{key}"\nca_directory = "{self.authorities}"'

    def shown(self, credential: Credential | None, stem: str = "caller") -> Shown:
        """Return what the client library is to show: one file, as proxies are."""
        path = credential.write_proxy(self.directory / f"{stem}.pem") if credential is not None else None
        return Shown(certificate=path, ca_directory=self.authorities)

    def site(self, daemon: Daemon, credential: Credential | None, stem: str = "caller") -> Site:
        """Return the service as seen by whoever shows a credential."""
        return connect(url(daemon), timeout=120, credential=self.shown(credential, stem))


def url(daemon: Daemon) -> str:
    """Return the address of a service that speaks TLS."""
    return f"https://127.0.0.1:{daemon.port}"
