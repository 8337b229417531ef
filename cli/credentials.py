"""What a command shows to a service: the options, then the environment, then client.toml, then where grids keep it.

The places are those of other grid clients: X509_USER_PROXY, X509_USER_CERT with X509_USER_KEY, X509_CERT_DIR, and
``/tmp/x509up_uUID``, where grid-proxy-init and voms-proxy-init leave a proxy; BEARER_TOKEN_FILE for tokens.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flyinglow.client import Credential

GRID_AUTHORITIES: Final = Path("/etc/grid-security/certificates")


@dataclass(frozen=True, slots=True)
class Shown:
    """The files that one place names, if it names any: a proxy, or a certificate and its key."""

    proxy: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    ca_directory: str | None = None
    token_file: str | None = None

    def __bool__(self) -> bool:
        """Say whether it names anything to be shown."""
        return self.proxy is not None or self.certificate is not None


def of_environment(environment: Mapping[str, str]) -> Shown:
    """Return what the environment names."""
    return Shown(
        environment.get("X509_USER_PROXY") or None,
        environment.get("X509_USER_CERT") or None,
        environment.get("X509_USER_KEY") or None,
        environment.get("X509_CERT_DIR") or None,
        environment.get("BEARER_TOKEN_FILE") or None,
    )


def of_file(found: Mapping[str, object]) -> Shown:
    """Return what client.toml names."""
    keys = ("proxy", "certificate", "private_key", "ca_directory", "token_file")
    return Shown(*(str(found[key]) if key in found else None for key in keys))


def choose(options: Shown, found: Mapping[str, object]) -> Credential:
    """Return what to show, from the first place that names something. Raises InvalidError for half of it."""
    from flyinglow.client import Credential

    if options.private_key is not None and options.certificate is None:
        raise InvalidError("--key goes with --cert")
    places = (options, of_environment(os.environ), of_file(found), Shown(proxy=_left_proxy()))
    shown = next((each for each in places if each), Shown())
    token = next((each.token_file for each in places if each.token_file), None)
    directory = next((each.ca_directory for each in places if each.ca_directory), None) or _grid_authorities()
    certificate = shown.proxy or shown.certificate
    key = None if shown.proxy else shown.private_key
    return Credential(
        certificate=_path(certificate), private_key=_path(key), ca_directory=_path(directory), token_file=_path(token)
    )


def _left_proxy() -> str | None:
    """Return where grid-proxy-init has left a proxy, if it is this user's own."""
    path = Path(f"/tmp/x509up_u{os.getuid()}")  # noqa: S108 - the place that Globus has fixed; its owner is checked
    try:
        return str(path) if path.stat(follow_symlinks=False).st_uid == os.getuid() else None
    except OSError:
        return None


def _grid_authorities() -> str | None:
    return str(GRID_AUTHORITIES) if GRID_AUTHORITIES.is_dir() else None


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()
