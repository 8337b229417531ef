"""Names of certificates: compared as structure, and one text for each."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.access import subjects
from flyinglow.access.subjects import Subject
from flyinglow.nodectl.errors import InvalidError

CN, O = "2.5.4.3", "2.5.4.10"  # noqa: E741
HARD = st.text(alphabet='ab=/,+\\#"<>; \n\x7fé', max_size=6).filter(bool)
ATTRIBUTES = st.tuples(st.sampled_from([CN, O, "1.2.3.4"]), HARD)
SUBJECTS = st.lists(st.frozensets(ATTRIBUTES, min_size=1, max_size=2), max_size=3).map(lambda x: Subject(tuple(x)))


def plain(*parts: tuple[str, str]) -> Subject:
    return Subject(tuple(frozenset({part}) for part in parts))


@given(SUBJECTS, SUBJECTS)
def test_two_names_have_one_text_only_if_they_are_the_same(one: Subject, other: Subject) -> None:
    assert (str(one) == str(other)) == (one == other)


@given(st.lists(st.tuples(st.sampled_from([CN, O]), HARD.map(lambda text: text.replace("é", "e"))), min_size=1))
def test_what_is_written_is_read_back_from_either_form(parts: list[tuple[str, str]]) -> None:
    subject = plain(*parts)
    slashes = "".join(
        f"/{subjects.NAMES[oid]}=" + "".join(f"\\x{ord(letter):02x}" for letter in value) for oid, value in parts
    )
    assert subjects.of_slashes(slashes) == subject


def test_the_text_is_rfc_4514s() -> None:
    subject = plain((O, "Grid, Inc."), (CN, "#Alice + Bob "))
    assert str(subject) == "CN=\\#Alice \\+ Bob\\ ,O=Grid\\, Inc."
    assert subjects.of_commas(str(subject)) == subject
    assert str(plain(("1.2.3.4", "x" * 200))).startswith("1.2.3.4=#0c81c878")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/O=Grid/CN=Alice", [(O, "Grid"), (CN, "Alice")]),
        ("/O=Grid/CN=host/a.example", [(O, "Grid"), (CN, "host/a.example")]),
        ("/O=Grid/CN=a\\/CN=b", [(O, "Grid"), (CN, "a/CN=b")]),
        ("/O=Grid/CN=a\\x2fCN=b", [(O, "Grid"), (CN, "a/CN=b")]),
        ("/O=Grid/CN=\\xc3\\xa9", [(O, "Grid"), (CN, "é")]),
        ("/O=Grid/CN=a/b=c", [(O, "Grid"), (CN, "a/b=c")]),
        ("/o=Grid/Email=a@b.example", [(O, "Grid"), ("1.2.840.113549.1.9.1", "a@b.example")]),
        ("/1.2.3.4=x", [("1.2.3.4", "x")]),
    ],
)
def test_names_as_globus_writes_them(text: str, parts: list[tuple[str, str]]) -> None:
    assert subjects.of_slashes(text) == plain(*parts)


@pytest.mark.parametrize("text", ["", "O=Grid", "/", "/Grid", "/FOO=x", "/CN=\\xzz"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        subjects.of_slashes(text)


@pytest.mark.parametrize("text", ["CN=", "CN", "1.2.3=#0c0161", "CN=a,,O=b"])
def test_what_is_no_name_of_rfc_4514_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        subjects.of_commas(text)


def test_how_a_value_is_encoded_does_not_count_but_its_case_does() -> None:
    def name(value: str, kind: x509.name._ASN1Type) -> Subject:
        return subjects.of(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, value, _type=kind)]))

    printable, utf8 = x509.name._ASN1Type.PrintableString, x509.name._ASN1Type.UTF8String
    assert name("Alice", printable) == name("Alice", utf8)
    assert name("Alice", utf8) != name("alice", utf8)


def test_a_nul_is_refused() -> None:
    with pytest.raises(InvalidError, match="NUL"):
        subjects.of(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\0b")]))


def test_a_value_that_is_no_text_is_not_taken_for_one() -> None:
    oid = x509.ObjectIdentifier("2.5.4.45")
    bits = x509.Name([x509.NameAttribute(oid, b"\x01", _type=x509.name._ASN1Type.BitString)])
    assert str(subjects.of(bits)) == "2.5.4.45=#01"
    assert str(plain(("2.5.4.45", "#01"))) != "2.5.4.45=#01"
