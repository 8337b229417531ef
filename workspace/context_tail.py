"""What others said, as one harmless line: the end of a guest's console, a guest's own message.

It goes into reasons, which are shown on terminals and written to logs: control characters are escaped, the length is
bounded, and the guest's own token is not repeated.
"""

from __future__ import annotations

LINES = 10
WIDTH = 160  # characters of a line
TAIL_BYTES = 4096
_CUT = 64  # bytes at the beginning of what was cut out of a line, which may be half a secret


def one_line(text: str, limit: int) -> str:
    """Return ``text`` with everything escaped that is not printable, at most ``limit`` characters of it."""
    plain = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def tail_words(data: bytes, *, whole: bool, secret: str | None = None) -> str:
    """Return the last lines of a console, a bar between them; ``whole``: ``data`` is all that there is."""
    if not whole:
        data = data.partition(b"\n")[2] or data[_CUT:]
    text = data.decode("utf-8", "backslashreplace")
    if secret:
        text = text.replace(secret, "***")
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    return " | ".join(one_line(line, WIDTH) for line in [line for line in lines if line][-LINES:])
