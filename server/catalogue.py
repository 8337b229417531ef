"""Makes the image catalogue out of ``[image.NAME]`` and the ``image.json`` files that these tables name."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from flyinglow.nodectl.errors import InvalidError
from flyinglow.server.config import Image as ImageTable
from flyinglow.workspace.catalogue import Image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DEFAULTS = ImageTable()
_KEYS = {field.name for field in dataclasses.fields(ImageTable)} - {"file"}


def catalogue(tables: Mapping[str, ImageTable]) -> dict[str, Image]:
    """Return the catalogue by name. Raises InvalidError for an ``image.json`` that cannot be read."""
    return {name: _entry(name, table) for name, table in tables.items()}


def _entry(name: str, table: ImageTable) -> Image:
    facts: dict[str, Any] = _read(name, table.file) if table.file else {}
    own = {key: getattr(table, key) for key in _KEYS if getattr(table, key) != getattr(_DEFAULTS, key)}
    merged = {key: value for key, value in {**facts, **own}.items() if key in _KEYS}
    source = merged.pop("path", None)
    if source is None:
        message = f"image.{name}: neither the configuration nor {table.file} gives its path"
        raise InvalidError(message)
    if not merged.get("sha256") and not source.startswith(("/", "file:")):
        message = f"image.{name}: nodes fetch it, so it needs its sha256"
        raise InvalidError(message)
    return Image(name=name, source=source, **{**merged, "size_mb": merged.get("size_mb") or 0})


def _read(name: str, file: Path) -> dict[str, Any]:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"image.{name}.file: {file} cannot be read: {error}"
        raise InvalidError(message) from None
    if not isinstance(facts, dict):
        message = f"image.{name}.file: {file} holds no JSON object"
        raise InvalidError(message)
    return facts
