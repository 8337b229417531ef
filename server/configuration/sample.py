"""Writes the commented sample configuration from the documentation beside each key."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyinglow.server.configuration.access import PolicyTerms
from flyinglow.server.configuration.settings import Config, Image, Network, Node
from flyinglow.server.configuration.tokens import TokenIssuer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD = """\
# Flying Low: the service's configuration (TOML).
# A key that is commented out shows its default. Unknown keys are refused with their line number.
# Check the file and the site with `flyinglow doctor --config FILE`.
"""
_NAMED: dict[str, tuple[type, str, dict[str, Any]]] = {
    "network": (Network, "private", {"cidr": "10.1.0.0/24", "range": "10.1.0.10-10.1.0.99"}),
    "image": (Image, "guest", {"file": "/srv/flyinglow/images/guest/image.json"}),
    "node": (Node, "node1", {"memory_mb": 4096, "cpus": 4, "disk_mb": 20480, "networks": {"private": "br-private"}}),
}


_ISSUER = {"url": "https://idp.example.org", "audience": "flyinglow", "keys_url": "https://idp.example.org/keys"}


def sample(own: Path | None = None) -> str:
    """Return the text of a commented configuration file, which ``config_file.parse`` accepts as it is.

    ``own``: the directory below which all lies for a user who is not root, and whose machines have user-mode networks.
    """
    chosen = _of_a_user(own) if own is not None else {}
    lines = [_HEAD]
    for section in dataclasses.fields(Config):
        if section.name not in {*_NAMED, "issuer", "policy"}:
            lines += _section((section.name,), section.default, chosen.get(section.name, {}))
    for name, (kind, example, values) in _NAMED.items():
        lines.append(f"[{name}.{example}]")
        lines += _keys(kind, {**values, **chosen.get(name, {})})
    lines += ["# [issuer.example]", *_aside(_keys(TokenIssuer, _ISSUER)), ""]
    lines += ["# [policy.example]", *_aside(_keys(PolicyTerms, {"groups": ["example"]})), ""]
    return "\n".join(lines)


def _of_a_user(directory: Path) -> dict[str, dict[str, Any]]:
    return {
        "server": {"state_dir": directory / "service"},
        "image": {"file": directory / "guest" / "image.json"},
        "node": {"networks": {"private": ""}},
    }


def _aside(keys: Iterable[str]) -> Iterator[str]:
    """Comment out a whole table, which there need not be; its defaults keep apart from those of other tables."""
    for line in keys:
        if line:
            yield f"#   {line.removeprefix('# ')}"


def _section(path: tuple[str, ...], value: Any, chosen: dict[str, Any]) -> Iterator[str]:
    inner = [f for f in dataclasses.fields(value) if dataclasses.is_dataclass(getattr(value, f.name))]
    if not inner:
        yield f"[{'.'.join(path)}]"
        yield from _keys(type(value), chosen, value)
    for field in inner:
        yield f"# {field.metadata['doc']}"
        yield from _section((*path, field.name), getattr(value, field.name), {})


def _keys(kind: type, values: dict[str, Any], defaults: Any = None) -> Iterator[str]:
    for field in dataclasses.fields(kind):
        yield from textwrap.wrap(field.metadata["doc"], 116, initial_indent="# ", subsequent_indent="# ")
        if field.name in values:
            yield f"{field.name} = {_toml(values[field.name])}"
        else:
            default = getattr(defaults, field.name) if defaults is not None else _default(field)
            yield f"# {field.name} =" + (f" {_toml(default)}" if default is not None else "")
    yield ""


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)
