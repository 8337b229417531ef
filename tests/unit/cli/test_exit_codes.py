"""The exit codes in the users' guide are those of the code."""

from pathlib import Path

from flyinglow.cli.exits import TABLE

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "users" / "cli.md"


def test_exit_codes_are_those_of_the_code() -> None:
    text = GUIDE.read_text()
    begin, end = "<!-- exit codes: begin -->\n", "<!-- exit codes: end -->"
    rows = [f"| {int(each.code)} | {each.meaning} |" for each in TABLE.values()]
    assert text.partition(begin)[2].partition(end)[0] == "\n".join(["| code | meaning |", "| --- | --- |", *rows, ""])
