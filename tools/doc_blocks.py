"""Text in the documentation that is made from the code: it stands between two marks, and nobody writes there by hand.

<!-- made by tools/NAME.py: BLOCK -->
...
<!-- end of BLOCK -->
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DOCS = Path(__file__).resolve().parent.parent / "docs"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def filled(text: str, tool: str, blocks: Mapping[str, str]) -> str:
    """Return the text of a page with every block of ``tool`` made anew. Raises SystemExit for one it does not have."""
    for name, made in blocks.items():
        begin, end = f"<!-- made by tools/{tool}.py: {name} -->", f"<!-- end of {name} -->"
        between = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        if not between.search(text):
            sys.exit(f"there is no place for the block {name!r} of tools/{tool}.py")
        text = between.sub(lambda _, new=f"{begin}\n{made}\n{end}": new, text)  # type: ignore[misc]
    return text


def main(tool: str, page: str, blocks: Mapping[str, str]) -> None:
    """Write the blocks into a page of the documentation; with ``--check``, end with 1 when that would change it."""
    path = DOCS / page
    old = path.read_text(encoding="utf-8")
    new = filled(old, tool, blocks)
    if "--check" in sys.argv[1:]:
        sys.exit(f"docs/{page} is not what the code says: run tools/{tool}.py" if new != old else 0)
    path.write_text(new, encoding="utf-8")
