"""Which service to speak to: the option, then FLYINGLOW_SERVICE, then the user's client.toml, then the default."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flyinglow.nodectl.errors import InvalidError

DEFAULT_SERVICE: Final = "http://127.0.0.1:8480"
VARIABLE: Final = "FLYINGLOW_SERVICE"
_KEYS: Final[dict[str, tuple[type, ...]]] = {"service": (str,), "timeout": (int, float)}


@dataclass(frozen=True, slots=True)
class Preferences:
    """Where the service is, and how many seconds to wait for each of its answers."""

    service: str = DEFAULT_SERVICE
    timeout: float = 30.0


def config_home() -> Path:
    """Return the directory of the user's own configuration."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "flyinglow"


def load(service: str | None = None) -> Preferences:
    """Return the preferences; ``service`` is what the command line says. Raises InvalidError for a faulty file."""
    path = config_home() / "client.toml"
    found = _read(path) if path.is_file() else {}
    chosen = service or os.environ.get(VARIABLE) or found.get("service") or DEFAULT_SERVICE
    return Preferences(service=str(chosen), timeout=float(str(found.get("timeout", Preferences().timeout))))


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
