#!/usr/bin/env python3
"""Writes the reference in docs/administration/configuration.md from ``server/configuration/settings.py``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doc_blocks import main, table

from flyinglow.server.configuration.access import PolicyTerms
from flyinglow.server.configuration.sample import sample
from flyinglow.server.configuration.settings import Config, Image, Network, Node
from flyinglow.server.configuration.tokens import TokenIssuer

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMED = {"network": Network, "image": Image, "node": Node, "issuer": TokenIssuer, "policy": PolicyTerms}
WORDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "Path": "absolute path",
    "tuple[str, ...]": "list of text",
    "dict[str, str]": "table of text",
    "dict[str, int]": "table of whole numbers",
    "dict[str, Any]": "table",
}


def sections() -> Iterator[str]:
    """Give a heading and a table for each table of the file."""
    for field in dataclasses.fields(Config):
        doc = field.metadata["doc"]
        if kind := NAMED.get(field.name):
            yield _section(f"{field.name}.NAME", kind, None, f"{doc} {(kind.__doc__ or '').splitlines()[0]}")
        else:
            yield from _sections(field.name, field.default, doc)


def _sections(name: str, value: Any, doc: str) -> Iterator[str]:
    inner = [field for field in dataclasses.fields(value) if dataclasses.is_dataclass(getattr(value, field.name))]
    if not inner:
        yield _section(name, type(value), value, doc)
    for field in inner:
        yield from _sections(f"{name}.{field.name}", getattr(value, field.name), field.metadata["doc"])


def _section(name: str, kind: type, value: Any, doc: str) -> str:
    rows = [
        (f"`{field.name}`", _word(field.type), _default(field, value), field.metadata["doc"])
        for field in dataclasses.fields(kind)
    ]
    return f"### `[{name}]`\n\n{doc}\n\n{table(('key', 'value', 'default', 'meaning'), rows)}\n"


def _word(annotation: Any) -> str:
    return WORDS[str(annotation).removesuffix(" | None")]


def _default(field: dataclasses.Field[Any], value: Any) -> str:
    if value is not None:
        return _shown(getattr(value, field.name))
    if field.default_factory is not dataclasses.MISSING:
        return _shown(field.default_factory())
    return "required" if field.default is dataclasses.MISSING else _shown(field.default)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "`{}`"
    plain = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
    return f"`{json.dumps(plain)}`"


if __name__ == "__main__":
    main(
        "config_docs",
        "administration/configuration.md",
        {"reference": "\n" + "\n".join(sections()), "sample": f"\n```toml\n{sample().rstrip()}\n```\n"},
    )
