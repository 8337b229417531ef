"""The only definition of what pilot and service say to each other."""

import json
from typing import Any

import pytest

from flyinglow.nodectl.errors import DeniedError, InvalidError
from flyinglow.pilot import messages
from flyinglow.pilot.messages import MAX_BYTES, Answer, Kind, Message, Settings, Standing

KEY, OTHER = "11" * 32, "22" * 32


def said(**changes: Any) -> Message:
    return Message("t1.0", "n1", 1, Kind.HELLO, sequence=1, body={"pid": 4}, **changes)


def test_a_message_comes_back_as_it_was() -> None:
    fields, text, mac = messages.opened(messages.seal(said(), KEY))
    messages.verify(KEY, text, mac)
    assert messages.message(fields) == said()


def test_an_answer_comes_back_as_it_was() -> None:
    answer = Answer(3, OTHER, 2, "s", Standing(end=True, left=2.5), ((7, {"order": "list"}),))
    data, mac = messages.signed(answer, KEY, "abc")
    fields, text, theirs = messages.opened(data)
    messages.verify(KEY, text, theirs, "abc")
    assert theirs == mac
    assert messages.answer(fields) == answer


@pytest.mark.parametrize("change", [("1", "2"), ('"n1"', '"n2"'), ("hello", "ready")])
def test_no_word_of_it_can_be_changed(change: tuple[str, str]) -> None:
    _, text, mac = messages.opened(messages.seal(said(), KEY))
    with pytest.raises(DeniedError):
        messages.verify(KEY, text.replace(change[0], change[1], 1), mac)


def test_another_key_and_another_question_are_refused() -> None:
    _, text, mac = messages.opened(messages.seal(Answer(), KEY, "first"))
    for key, answers in ((OTHER, "first"), (KEY, "second"), (KEY, "")):
        with pytest.raises(DeniedError):
            messages.verify(key, text, mac, answers)
    with pytest.raises(DeniedError):
        messages.verify(KEY, text, "é", "first")


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"\xff", b'{"signed": 1, "mac": "x"}', b'{"signed": "[]", "mac": "x"}', b"[" * 100_000],
    ids=["empty", "bare", "list", "bytes", "number", "inner", "deep"],
)
def test_what_is_no_message_is_refused(data: Any) -> None:
    with pytest.raises(InvalidError):
        messages.opened(data)


def test_an_oversized_message_is_not_even_read() -> None:
    with pytest.raises(InvalidError, match="more than"):
        messages.opened(b" " * (MAX_BYTES + 1))


@pytest.mark.parametrize(
    "changes",
    [{"kind": "shout"}, {"sequence": "1"}, {"sequence": True}, {"body": []}, {"slot": None}, {"strange": 1}],
    ids=str,
)
def test_fields_of_another_type_are_refused(changes: Any) -> None:
    fields = json.loads(messages.opened(messages.seal(said(), KEY))[1])
    with pytest.raises(InvalidError):
        messages.message({**fields, **changes})


def test_another_version_is_refused_and_both_are_named() -> None:
    fields = json.loads(messages.opened(messages.seal(said(software="pilot 9"), KEY))[1])
    with pytest.raises(InvalidError, match=r"\('pilot 9'\) speaks version 2, this side version 1: upgrade this side"):
        messages.message({**fields, "version": 2})
    with pytest.raises(InvalidError):
        messages.answer({"version": None})


def test_settings_come_back_as_they_were_and_keep_their_key_to_themselves(settings: Settings) -> None:
    assert messages.settings(messages.settings_line(settings)) == settings
    assert messages.settings_line(settings).count(b"\n") == 1
    assert KEY not in repr(settings)


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"version": 1}', b'{"version": 1, "job": 3}'])
def test_settings_that_are_none_are_refused(data: Any) -> None:
    with pytest.raises(InvalidError):
        messages.settings(data)


def test_seconds_must_be_a_number(settings: Settings) -> None:
    fields = json.loads(messages.settings_line(settings))
    with pytest.raises(InvalidError, match="seconds"):
        messages.settings(json.dumps({**fields, "seconds": "60"}).encode())
