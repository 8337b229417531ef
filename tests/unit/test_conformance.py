"""The table of conformance names a test for each row, and each of these tests exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("|") and not re.match(r"\| (---|\| req)", line)]
NODE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
STANDARDS = (
    "WS-Addressing 1.0",
    "WS-BaseFaults 1.2",
    "WS-Resource 1.2",
    "WS-ResourceProperties 1.2",
    "WS-ResourceLifetime 1.2",
    "WS-ServiceGroup 1.2",
    "WS-BaseNotification 1.3",
    "WS-BrokeredNotification 1.3",
    "WS-Topics 1.3",
)


@cache
def functions_of(path: str) -> frozenset[str]:
    """Return the names of a module's test functions, without running it."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds) and node.name.startswith("test_"))


def unproved(rows: list[str]) -> list[str]:
    """Return the rows that name no test, or one that is not there."""
    bad = []
    for row in rows:
        _, rank, _, proof, _ = _cells(row)
        found = NODE.findall(proof)
        missing = [path for path, name in found if not (ROOT / path).is_file() or name not in functions_of(path)]
        if rank not in {"M", "S", "O"} or not found or missing:
            bad.append(row)
    return bad


def _cells(row: str) -> list[str]:
    """Return a row's cells; a bar inside of code is no border."""
    return [cell.strip() for cell in re.split(r"(?<!`)\|(?!`)", row)]


def test_every_row_has_a_rank_and_a_test_that_exists() -> None:
    assert len(ROWS) > 100
    assert unproved(ROWS) == []


@pytest.mark.parametrize("standard", STANDARDS)
def test_every_standard_has_its_section(standard: str) -> None:
    section = TEXT.partition(f"\n## {standard}\n")[2].partition("\n## ")[0]
    assert NODE.search(section)


@pytest.mark.parametrize(
    "row",
    [
        "| M | something | |",
        "| M | something | `tests/unit/test_conformance.py::test_that_is_not_there` |",
        "| M | something | `tests/unit/test_nowhere.py::test_every_standard_has_its_section` |",
        "| ? | something | `tests/unit/test_conformance.py::test_every_standard_has_its_section` |",
    ],
)
def test_a_row_without_a_proof_is_seen(row: str) -> None:
    assert unproved([row]) == [row]
