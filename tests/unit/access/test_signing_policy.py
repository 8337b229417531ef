"""Signing policies as authorities publish them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.access import signing_policy, subjects
from flyinglow.nodectl.errors import InvalidError

TEXT = """
# EACL of an authority
access_id_CA    X509    '/C=DE/O=Grid/CN=CA'
pos_rights      globus  CA:sign
cond_subjects   globus  '"/C=DE/O=Grid/*" "/O=Other/CN=host/?.example"'
access_id_CA    X509    '/C=DE/O=Mute'
neg_rights      globus  CA:sign
cond_subjects   globus  "*"
access_id_CA    X509    '/C=DE/O=All'
pos_rights      globus  CA:sign
cond_subjects   globus  "*"
"""


def allows(authority: str, subject: str) -> bool:
    return signing_policy.parse(TEXT).allows(subjects.of_slashes(authority), subjects.of_slashes(subject))


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [
        ("/C=DE/O=Grid/CN=Alice", True),
        ("/C=DE/O=Grid/OU=x/CN=Alice", True),
        ("/C=DE/O=Gridlock/CN=Alice", False),
        ("/C=DE/O=Grid\\/CN=Alice", False),
        ("/O=Other/CN=host/a.example", True),
        ("/O=Other/CN=host/aa.example", False),
        ("/O=Other/CN=host/a.example/CN=more", False),
        ("/O=Else", False),
    ],
)
def test_patterns_are_held_against_each_part(subject: str, allowed: bool) -> None:
    assert allows("/C=DE/O=Grid/CN=CA", subject) is allowed


def test_rights_are_each_authoritys_own() -> None:
    assert not allows("/C=DE/O=Mute", "/C=DE/O=Grid/CN=Alice")
    assert allows("/C=DE/O=All", "/O=Else")
    assert not allows("/C=DE/O=Unknown", "/C=DE/O=Grid/CN=Alice")


@pytest.mark.parametrize("text", ["access_id_CA X509", "cond_subjects 'x", "hello", "access_id_CA X509 Grid"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        signing_policy.parse(text)


@given(st.text(max_size=120))
def test_whatever_stands_there_is_taken_or_refused(text: str) -> None:
    try:
        signing_policy.parse(f"access_id_CA X509 /O=a\npos_rights globus CA:sign\ncond_subjects globus {text}")
    except InvalidError:
        return
