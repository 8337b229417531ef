"""Makes text from elsewhere fit for a terminal: a name or a reason must not move the cursor or hide itself."""

from __future__ import annotations

import re
from typing import Final

# C0, DEL and C1 control characters; line and paragraph separators; marks that turn the direction of writing
_UNFIT: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff"
_LINE = re.compile(f"[{_UNFIT}]")
_PAGE = re.compile(f"(?![\n\t])[{_UNFIT}]")


def plain(text: object) -> str:
    r"""Return one line with everything unfit written out, as ``\x1b`` for the escape character."""
    return _LINE.sub(_written, str(text))


def plain_page(text: str) -> str:
    """Return lines with everything unfit but line ends and tabs written out."""
    return _PAGE.sub(_written, text.replace("\r\n", "\n"))


def _written(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}"  # noqa: PLR2004 # what two digits can say
