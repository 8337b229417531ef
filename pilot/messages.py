"""The only definition of what a pilot and the service say to each other.

A message is one JSON object ``{"signed": TEXT, "mac": HEX}``; TEXT is itself a JSON object (``Message`` or
``Answer``) and the MAC is HMAC-SHA256 over its bytes, so nothing has to be brought into a canonical form. A pilot
posts messages to ``PATH`` on the service's node listener; where that fails, reports (not polls) are appended as lines
by SSH.

Keys: the first report (``hello``) carries the MAC of the job's key, which is in the job's script and nowhere else; its
answer brings the slot's own key, which signs everything after it, in both directions. An answer's MAC also covers the
MAC of the message it answers, so an old answer cannot be played back.

Reports have consecutive sequence numbers from 1 within an epoch; a pilot sends one at a time and repeats it until it is
acknowledged; the service stores first and acknowledges then, and takes none twice. A ``poll`` has its own numbers
(``turn``) that must grow within a ``session``, which is the service's word for its own run: orders go only to a poll of
the present session, so a recorded poll brings nobody any order. Times are durations, or milliseconds for the record.

A hello is written in the oldest version that the pilot speaks and tells its range in its body (``speaks``); the answer
is in the highest that both sides do, and so is all that follows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from flyinglow.nodectl.errors import DeniedError, InvalidError
from flyinglow.nodectl.versions import Spoken, disagreement, range_of, understood

OLDEST = 1
VERSION = 1
SPOKEN = Spoken(OLDEST, VERSION)
PATH = "/pilot/1"
MAX_BYTES = 8 << 20
LONG_POLL = 25.0  # seconds that the service may hold a poll back


class Kind(str, Enum):
    """What a message is about."""

    HELLO = "hello"  # a pilot has started; body: {"pilot", "python", "node", "pid", "seconds_up", "speaks": range}
    READY = "ready"  # memory is reserved; body: {"memory_mb", "target_mb", "actual_mb", "base_mb", "seconds", "left"}
    SIGNALLED = "signalled"  # the LRM gave notice; body: {"signal", "grace", "left"} (seconds until it kills)
    RELEASING = "releasing"  # giving back begins; body: {"reason"}
    RELEASED = "released"  # all given back; body: {"reason", "destroyed": [tags], "restored_mb", "seconds"}
    FAILED = "failed"  # a step failed; body: {"step", "error": {"kind", "message", "figures"}}
    SAID = "said"  # lines of the node's agent, as they are; body: {"lines": [...]}
    POLL = "poll"  # give me orders; no report, keeps no sequence
    TICKET = "ticket"  # the node wants the service's signature before it gives a slot; no report, keeps no sequence


DURABLE = frozenset({Kind.HELLO, Kind.READY, Kind.SIGNALLED, Kind.RELEASING, Kind.RELEASED, Kind.FAILED})


@dataclass(frozen=True)
class Message:
    """From a pilot. ``slot`` is ``TAG.RANK``; ``got`` (of a poll) is the number of the last order that came."""

    slot: str
    node: str
    epoch: int
    kind: Kind
    sequence: int = 0
    time_ms: int = 0
    incarnation: str = ""
    session: str = ""
    turn: int = 0
    got: int = 0
    body: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION
    software: str = ""


@dataclass(frozen=True)
class Standing:
    """How things stand for a slot; told with every answer, so that none of it can be lost."""

    end: bool = False  # give the slot back
    reason: str = ""
    left: float | None = None  # seconds until the slot ends by the pilot's own clock; None: as it was
    warned: float | None = None  # another pilot of this job was signalled: so many seconds are left


@dataclass(frozen=True)
class Answer:
    """From the service. ``ack`` is the highest sequence that is stored; ``orders`` are numbered lines for the agent."""

    ack: int = 0
    key: str = ""  # the slot's key, in the answer to a hello
    epoch: int = 0
    session: str = ""
    standing: Standing = field(default_factory=Standing)
    orders: tuple[tuple[int, dict[str, Any]], ...] = ()
    error: dict[str, Any] | None = None  # {"kind", "message"}: the pilot gives up when it is not transient
    version: int = VERSION
    software: str = ""
    ticket: dict[str, Any] = field(default_factory=dict)  # for the node's agent; left out of answers that have none


@dataclass(frozen=True)
class Settings:
    """What the job's script tells the pilot: JSON on its standard input or in a file, not in argv or environment."""

    job: str
    key: str = field(repr=False)
    url: str
    seconds: float  # from the pilot's start to the end of the slot, by its own clock
    grace: float  # seconds from the LRM's notice to its SIGKILL
    share: float  # the part of the grace that is the service's, 0..1
    slots: tuple[dict[str, int], ...]  # by rank: {"memory_mb", "cpus"}
    epoch: int = 1
    memory_policy: str = "exact"  # exact, margin, all
    margin_mb: int = 0
    agent: tuple[str, ...] = ("sudo", "-n", "flyinglow-nodectl", "agent", "--stdio")
    certificate: str = ""  # PEM of the authority that signs the node listener's certificate
    ssh: dict[str, Any] | None = None  # the second channel: {"address", "port", "user", "identity", "known_hosts"}
    patience: float = 10.0  # seconds for one post
    version: int = VERSION
    software: str = ""


def seal(value: Message | Answer, key: str, answers: str = "") -> bytes:
    """Write a message and sign it; ``answers`` is the MAC of the message that this one answers."""
    return signed(value, key, answers)[0]


def signed(value: Message | Answer, key: str, answers: str = "") -> tuple[bytes, str]:
    """Write a message and sign it, as ``seal`` does, and return its MAC, too: the answer's will cover it."""
    fields = dataclasses.asdict(value)
    if not fields.get("ticket", True):
        del fields["ticket"]  # pilots of jobs that began under an earlier release do not know it
    text = json.dumps(fields, separators=(",", ":"), default=str)
    mac = _mac(key, text, answers)
    return json.dumps({"signed": text, "mac": mac}, separators=(",", ":")).encode(), mac


def opened(data: bytes) -> tuple[dict[str, Any], str, str]:
    """Take a message apart without believing it: its fields, its text and its MAC. Raises InvalidError."""
    if len(data) > MAX_BYTES:
        raise InvalidError(f"a message has more than {MAX_BYTES} bytes")
    try:
        outer = json.loads(data)
        text, mac = outer["signed"], outer["mac"]
        inner = json.loads(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidError("this is not a pilot's message") from error
    if not isinstance(inner, dict) or not isinstance(mac, str):
        raise InvalidError("this is not a pilot's message")
    return inner, text, mac


def verify(key: str, text: str, mac: str, answers: str = "") -> None:
    """Raise DeniedError when the MAC is not this key's."""
    if not hmac.compare_digest(_mac(key, text, answers).encode(), mac.encode("utf-8", "replace")):
        raise DeniedError("the message is not signed with the right key")


def _mac(key: str, text: str, answers: str) -> str:
    return hmac.new(bytes.fromhex(key), f"{answers}\n{text}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def message(fields: dict[str, Any]) -> Message:
    """Build a Message of its fields. Raises InvalidError for what is not one or of another version."""
    made: Message = _built(Message, fields, {"kind": Kind})
    return made


def answer(fields: dict[str, Any]) -> Answer:
    """Build an Answer of its fields. Raises InvalidError for what is not one or of another version."""
    made: Answer = _built(Answer, fields, {"standing": lambda value: Standing(**value)})
    orders = tuple((int(number), dict(line)) for number, line in made.orders)
    return dataclasses.replace(made, orders=orders)


def settings(data: bytes) -> Settings:
    """Read the pilot's settings. Raises InvalidError."""
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise InvalidError(f"the settings are not JSON: {error}") from error
    made: Settings = _built(Settings, fields, {"slots": tuple, "agent": tuple})
    return made


def settings_line(value: Settings) -> bytes:
    """Write settings as the line of JSON that a pilot reads."""
    return json.dumps(dataclasses.asdict(value), separators=(",", ":")).encode() + b"\n"


_TYPES: dict[Any, Any] = {"int": int, "str": str, "float": (int, float), "dict[str, Any]": dict}


def _built(cls: Any, fields: Any, conversions: dict[str, Any]) -> Any:
    if not isinstance(fields, dict):
        raise InvalidError("this is not a message")
    if fields.get("version") not in SPOKEN:
        they = f"the other side ({fields.get('software')!r})"
        theirs = range_of(fields.get("body"), fields.get("version"))
        raise InvalidError(disagreement(SPOKEN, theirs, "this side", they))
    known = {item.name: item for item in dataclasses.fields(cls)}
    try:
        fields = understood(cls, fields)
    except TypeError as error:
        raise InvalidError(f"a message has an unknown field: {error}") from error
    try:
        values = {name: conversions[name](value) if name in conversions else value for name, value in fields.items()}
        for name, value in values.items():
            wanted = _TYPES.get(known[name].type)
            if wanted and (not isinstance(value, wanted) or isinstance(value, bool)):
                raise TypeError(name)
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise InvalidError(f"a message cannot be read: {error}") from error
