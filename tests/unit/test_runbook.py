"""The runbook has every reason that the code gives a workspace, and quotes nodes and the log word for word."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = ROOT / "docs" / "administration" / "operation.md"
pytestmark = pytest.mark.skipif(not RUNBOOK.exists(), reason="not the repository's own layout")


def templates(*folders: str) -> list[str]:
    """Return every text in the code of these folders, with dots for what is filled in."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [text for path in paths for node in ast.walk(ast.parse(path.read_text())) if (text := template(node))]


def template(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def table(name: str) -> list[str]:
    """Return the first column of the table between two marks."""
    text = RUNBOOK.read_text().partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0]
    return [line.split(" | ")[0].removeprefix("| ") for line in text.strip().splitlines()[2:]]


def reasons() -> set[str]:
    """Return every reason that the code gives a workspace, with dots for what is filled in."""
    found = set()
    for path in sorted((ROOT / "workspace").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.keyword) and node.arg == "reason"
            assigned = isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == ["reason"]
            if isinstance(node, ast.keyword | ast.Assign) and (named or assigned):
                found |= {text for inner in ast.walk(node.value) if len(text := template(inner)) > 3}
    fragments = {text for text in found if any(text != other and text in other for other in found)}
    return found - fragments


def test_the_runbook_has_every_reason_and_no_other() -> None:
    rows = table("reasons")
    given = reasons()
    assert len(given) >= 8
    assert not {reason for reason in given if reason not in rows}
    texts = templates("workspace")
    assert not [row for row in rows if not any(text.startswith(row) for text in texts)]


def test_the_runbook_quotes_nodes_word_for_word() -> None:
    rows = table("node's reasons")
    texts = templates("nodectl", "backend/channel")
    assert len(rows) > 10
    assert not [row for row in rows if not any(row in text for text in texts)]


def test_the_log_page_names_events_that_are_logged() -> None:
    text = RUNBOOK.read_text().partition("## Logs")[2]
    rows = re.findall(r"^\| `([^`]+)` \|", text.partition("\n## ")[0], re.MULTILINE)
    said = templates("server", "wsrf", "workspace", "backend")
    assert len(rows) > 6
    assert not [row for row in rows if not any(each.startswith(row) for each in said)]


LRM = (
    "words",
    "hearing",
    "rounds",
    "claims/waiting",
    "claims/planning",
    "claims/extension",
    "jobs/submitting",
    "jobs/listing",
)
INNER = {"reason", "why", "words", "message", "where", "fate", "notice"}


def telling(node: ast.AST, *, inside_words: bool) -> list[ast.AST]:
    """Return what of a piece of code says why."""
    found: list[ast.AST] = []
    if isinstance(node, ast.Call) and ast.unparse(node.func) in {"ConflictError", "BrokenError", "unwanted"}:
        found += node.args
    elif isinstance(node, ast.Assign) and INNER & {ast.unparse(each) for each in node.targets}:
        found += ast.walk(node.value)
    elif isinstance(node, ast.keyword) and node.arg == "reason":
        found += [node.value]
    elif isinstance(node, ast.arguments):
        found += node.defaults
    elif inside_words and isinstance(node, ast.Return) and node.value is not None:
        found += ast.walk(node.value)
    elif inside_words and isinstance(node, ast.Dict):
        found += node.values
    return found


def scheduler_words() -> set[str]:
    """Return every text of the LRM back-end that says why something waits or ended, with dots for what is filled in."""
    found = set()
    for name in LRM:
        for node in ast.walk(ast.parse((ROOT / "backend" / "lrm" / f"{name}.py").read_text())):
            found |= {template(each) for each in telling(node, inside_words=name == "words")}
    whole = {text for text in found if len(re.findall(r"[a-z]{2,}", text)) > 1}
    return {text.strip() for text in whole if not any(text != other and text in other for other in whole)}


def test_the_runbook_has_every_word_about_the_scheduler_and_no_other() -> None:
    rows = table("scheduler's reasons")
    said = scheduler_words() - {"pilot job fl-…"}  # a job's name
    assert len(said) > 20
    assert not said - set(rows)
    assert not set(rows) - said


def test_the_runbook_has_every_reason_of_a_pilot() -> None:
    text = RUNBOOK.read_text().partition("What a pilot says in its turn")[2].partition("\n\n")[0]
    told = set(re.findall(r"`([a-z]+)[ :`]", text)) - {"flyinglow"}
    source = " ".join(templates("pilot"))
    assert told == {"signal", "warned", "deadline", "ended", "failed"}
    assert not [word for word in told if word not in source]
