"""What a caller's certificate makes it a member of: the names of the grid-mapfile, the attributes of VOMS servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyinglow.access import mapfile, voms
from flyinglow.nodectl.errors import BrokenError, DeniedError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

    from flyinglow.access.mapfile import Mapfile
    from flyinglow.access.proxies import Holder
    from flyinglow.access.voms import Chain, Servers
    from flyinglow.server.configuration.settings import ClientListener


@dataclass(frozen=True, slots=True)
class Mapping:
    """How certificates become groups. ``only``: nobody may come in whom the mapfile does not name."""

    mapfile: Mapfile
    servers: Servers
    only: bool = False

    def groups(self, chain: Sequence[x509.Certificate], who: Holder, verify: Chain, now: datetime) -> frozenset[str]:
        """Return the groups of whoever holds a verified chain. Raises DeniedError, with the reason.

        A VOMS attribute is a group by itself (``/atlas/Role=pilot``), besides what the mapfile makes of it.
        """
        attributes = voms.attributes(chain, who.certificate, self.servers, verify, now)
        named = self.mapfile.groups(who.subject, attributes)
        if self.only and not named:
            raise DeniedError(f"the mapfile of this site does not name {who.subject}")
        return named | attributes


def read(listener: ClientListener) -> Mapping:
    """Read the files that the listener names; blocks. Raises BrokenError that says which file is wrong, and how."""
    return Mapping(
        mapfile.parse("") if listener.mapfile is None else _mapfile(listener.mapfile),
        voms.Servers() if listener.voms_directory is None else _servers(listener.voms_directory),
        listener.mapfile_only,
    )


def _mapfile(path: Path) -> Mapfile:
    try:
        return mapfile.parse(_text(path))
    except InvalidError as error:
        raise BrokenError(f"{path}: {error}") from None


def _servers(directory: Path) -> Servers:
    if not directory.is_dir():
        raise BrokenError(f"voms_directory: {directory} is no directory that can be read")
    chains = {}
    for path in sorted(directory.glob("*/*.lsc")):
        try:
            chains[path.parent.name, path.stem] = voms.parse_lsc(_text(path))
        except InvalidError as error:
            raise BrokenError(f"{path}: {error}") from None
    return voms.Servers(chains)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BrokenError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BrokenError(f"{path} is not UTF-8") from None
