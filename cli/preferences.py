"""Which service to speak to: the option, then FLYINGLOW_SERVICE, then the user's client.toml, then the default."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flyinglow.cli import credentials
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from flyinglow.client import Credential

DEFAULT_SERVICE: Final = "http://127.0.0.1:8480"
VARIABLE: Final = "FLYINGLOW_SERVICE"
_KEYS: Final[dict[str, tuple[type, ...]]] = {
    "service": (str,),
    "timeout": (int, float),
    "proxy": (str,),
    "certificate": (str,),
    "private_key": (str,),
    "ca_directory": (str,),
    "token_file": (str,),
}


@dataclass(frozen=True, slots=True)
class Preferences:
    """Where the service is, how many seconds to wait for each of its answers, and what to show it over https."""

    service: str = DEFAULT_SERVICE
    timeout: float = 30.0
    credential: Credential | None = None


def config_home() -> Path:
    """Return the directory of the user's own configuration."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "flyinglow"


def data_home() -> Path:
    """Return the directory of what a user keeps who runs a service of his own."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "flyinglow"


def load(service: str | None = None, shown: credentials.Shown | None = None) -> Preferences:
    """Return the preferences; ``service`` and ``shown`` are the command line's. Raises InvalidError for a faulty file.

    To a service that is not spoken to over https nothing is shown but a token.
    """
    path = config_home() / "client.toml"
    found = _read(path) if path.is_file() else {}
    chosen = service or os.environ.get(VARIABLE) or found.get("service") or DEFAULT_SERVICE
    options = credentials.Shown() if shown is None else shown  # which is false if it has a directory only
    credential = _shown(credentials.choose(options, found), str(chosen))
    return Preferences(str(chosen), float(str(found.get("timeout", Preferences().timeout))), credential)


def _shown(credential: Credential, service: str) -> Credential | None:
    if service.startswith("https://"):
        return credential
    token = credential.token_file  # the library shows it to this machine only
    return None if token is None else replace(credential, certificate=None, private_key=None, ca_directory=None)


def _read(path: Path) -> dict[str, object]:
    try:
        found = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path}: {error}") from None
    for key, value in found.items():
        if key not in _KEYS:
            raise InvalidError(f"{path}: there is no key {key!r}; there are {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]) or isinstance(value, bool):
            raise InvalidError(f"{path}: {key} cannot be {value!r}")
    return found
