#!/usr/bin/env python3
"""Writes the table of [backend.options] of the LRM back-end into docs/administration/lrm.md, from its dataclass."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from doc_blocks import main, table

from flyinglow.backend.lrm.settings.options import LrmOptions

_COMMENT = re.compile(r"^    (\w+): .*?  # (?:noqa: \w+ - )?(.*)$", re.MULTILINE)


def options() -> str:
    """Return every key with its default and the comment that stands beside it."""
    meanings = dict(_COMMENT.findall(inspect.getsource(LrmOptions)))
    fields = dataclasses.fields(LrmOptions)
    missing = {field.name for field in fields} - set(meanings)
    if missing:
        raise SystemExit(f"LrmOptions: no comment beside {', '.join(sorted(missing))}")
    rows = [(f"`{field.name}`", _default(field), meanings[field.name]) for field in fields]
    return table(("key", "default", "meaning"), rows)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        value: Any = field.default_factory()
    elif field.default is dataclasses.MISSING:
        return "required"
    else:
        value = field.default
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return "`{}`"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


if __name__ == "__main__":
    main("lrm_option_docs", "administration/lrm.md", {"options": f"\n{options()}\n"})
