"""Tells the user of an error: what failed, whose side it is on, whether a retry helps, what to type next."""

from __future__ import annotations

import json
from typing import Any

import click

from flyinglow.cli.exits import Exit, advice
from flyinglow.cli.plain import plain
from flyinglow.nodectl.errors import FlyingLowError


def complain(error: BaseException, *, as_json: bool, leasing: bool = True) -> Exit:
    """Write the complaint to standard error and return the exit code; advice only for who leases."""
    told = advice(error)
    if as_json:
        click.echo(json.dumps({"error": {**plainly(error), "exit_code": int(told.code)}}), err=True)
        return told.code
    first, *more = str(error).split("\n")
    lines = [f"flyinglow: {plain(first)}", *(f"  {plain(line)}" for line in more)]
    if (side := getattr(error, "side", told.side)) and leasing:
        retry = "a retry may help" if getattr(error, "retryable", False) else "a retry will not help"
        lines.append(f"  side: {side}; {retry}")
    if isinstance(error, FlyingLowError):
        if error.figures:
            lines.append("  figures: " + ", ".join(f"{plain(key)} {value}" for key, value in error.figures.items()))
        if error.incident:
            lines.append(f"  incident: {plain(error.incident)}")
    if (following := getattr(error, "hint", told.next)) and leasing:
        lines.append(f"  next: {following}")
    click.echo("\n".join(lines), err=True)
    return told.code


def plainly(error: BaseException) -> dict[str, Any]:
    """Return an error as plain JSON."""
    if not isinstance(error, FlyingLowError):
        return {"kind": "timed out" if isinstance(error, TimeoutError) else "broken", "message": str(error)}
    return {
        "kind": error.kind,
        "message": error.message,
        "retryable": error.retryable,
        "incident": error.incident,
        "figures": error.figures,
    }
