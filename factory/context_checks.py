"""What must be true of a part's context: what the lessee writes becomes lines, files and keys in his guests."""

from __future__ import annotations

import re

from flyinglow.factory.model import Part
from flyinglow.nodectl.context import files
from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.context import is_ours

USER_DATA_MAX = 64 << 10  # bytes
KEYS_MAX = 64
KEY = re.compile(r"(.* )?(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*( .*)?\Z")


def check(part: Part) -> None:
    """Raise InvalidError for the first thing that is wrong, but for the names of roles."""
    try:
        _user_data(part.context.user_data)
        _keys(part.context.keys)
        given = part.context.files
        for file in given:
            files.check_path(file.path)
            files.check_mode(file.path, file.mode)
        files.check_together([file.path for file in given], sum(len(file.content) for file in given))
    except InvalidError as error:
        raise InvalidError(f"part {part.name}: {error.message}") from error


def _user_data(data: bytes) -> None:
    if len(data) > USER_DATA_MAX:
        raise InvalidError(f"user data has at most {USER_DATA_MAX} bytes")
    try:
        data.decode()
    except UnicodeDecodeError:
        raise InvalidError("user data is UTF-8 text") from None
    if b"\0" in data:
        raise InvalidError("user data has no NUL")


def _keys(keys: tuple[str, ...]) -> None:
    if len(keys) > KEYS_MAX:
        raise InvalidError(f"{len(keys)} keys were given; a guest is given at most {KEYS_MAX}")
    for key in keys:
        if not key or not key.isprintable():
            raise InvalidError("a key is one line of printable text")
        if not KEY.match(key) or is_ours(key):
            raise InvalidError(f"{key[:40]!r} is no line of an SSH authorized_keys file: options, type, key, comment")
