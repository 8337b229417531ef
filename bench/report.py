"""The table of a run, and the same as plain JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rows import Row, number

_HEAD = ("", "figure", "p50 ms", "p99 ms", "target", "", "beside it, in the same run")


def markdown(rows: Sequence[Row], circumstances: Mapping[str, str]) -> str:
    """Return the table with what is to be known of the run above it."""
    lines = [f"- {name}: {text}" for name, text in circumstances.items()]
    for part in dict.fromkeys(row.part for row in rows):
        lines += ["", f"## {part}", "", _line(_HEAD), _line(("---",) * len(_HEAD))]
        lines += [_line(_cells(row)) for row in rows if row.part == part]
    missed = [row for row in rows if row.verdict == "not met"]
    with_target = sum(row.target is not None for row in rows)
    lines += ["", f"{with_target - len(missed)} of {with_target} targets met."]
    lines += [f"Not met: {row.part}, {row.name}." for row in missed]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    target = f"{row.target} {row.unit}".strip() if row.target else ""
    return (
        row.name,
        f"{number(row.value)} {row.unit}".strip(),
        number(row.p50) if row.p50 is not None else "",
        number(row.p99) if row.p99 is not None else "",
        target,
        f"**{row.verdict}**" if row.verdict else "",
        row.beside,
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def as_json(rows: Sequence[Row], circumstances: Mapping[str, str]) -> str:
    """Return everything for other programs."""
    figures = [{**asdict(row), "verdict": row.verdict} for row in rows]
    return json.dumps({"circumstances": dict(circumstances), "rows": figures}, indent=1) + "\n"
