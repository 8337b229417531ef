"""Makes the image catalogue out of ``[image.NAME]`` and the ``image.json`` files that these tables name."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from flyinglow.factory.uris import UriPolicy
from flyinglow.nodectl.context import ways
from flyinglow.nodectl.errors import InvalidError
from flyinglow.server.configuration.settings import Image as ImageTable
from flyinglow.workspace.catalogue import Image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flyinglow.server.configuration.settings import ImageUri

_DEFAULTS = ImageTable()
_KEYS = {field.name for field in dataclasses.fields(ImageTable)} - {"file"}


def catalogue(tables: Mapping[str, ImageTable]) -> dict[str, Image]:
    """Return the catalogue by name. Raises InvalidError for an ``image.json`` that cannot be read."""
    return {name: _entry(name, table) for name, table in tables.items()}


def uri_policy(table: ImageUri) -> UriPolicy:
    """Return what lessees may name by a URI; ``scp`` and ``sftp`` are one thing."""
    schemes = {scheme.lower() for scheme in table.schemes}
    return UriPolicy(
        schemes=tuple(sorted(schemes | ({"scp", "sftp"} if schemes & {"scp", "sftp"} else set()))),
        hosts=tuple(host.lower() for host in table.hosts),
        directories=table.directories,
        kernels=dict(table.kernels),
        size_mb=table.default_size_mb,
        most_mb=table.maximum_size_mb,
    )


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
    try:
        ways.check(merged.get("context", ways.AUTO))
    except InvalidError as error:
        message = f"image.{name}: {error.message}"
        raise InvalidError(message) from None
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
