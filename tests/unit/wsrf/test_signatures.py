"""Messages that prove who sent them: what is signed is what is acted on, and it is acted on once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from lxml.etree import _Element

from flyinglow.access.identity import LOCAL, UNKNOWN, Identity
from flyinglow.access.rates import Rate
from flyinglow.client.signing import Signing
from flyinglow.nodectl.errors import InvalidError
from flyinglow.wsrf.gate import Gate
from flyinglow.wsrf.security.names import DS, EXCLUSIVE, ID, SECURITY, SIGNATURE, TIMESTAMP, TOKEN, WSSE, WSU
from flyinglow.wsrf.security.positions import SignatureError
from flyinglow.wsrf.security.replay import AHEAD, WINDOW, Replays
from flyinglow.wsrf.xml import NS
from rigs.authority import LIMITED, Authority, now
from rigs.signed import TO, Notary, Signer
from rigs.soap import message

S = f"{{{NS['s11']}}}"
WSA = f"{{{NS['wsa']}}}"
ALICE = "CN=Alice,O=Grid"
DENIED = "DeniedFault"
ENCIPHER = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=True,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.make()


@pytest.fixture(scope="module")
def alice(root: Authority) -> Signer:
    return Signer(root.issue("Alice"))


@pytest.fixture
def notary(root: Authority, tmp_path: Path) -> Notary:
    return Notary(root, tmp_path)


def header(envelope: _Element) -> _Element:
    return envelope[0]


def security(envelope: _Element) -> _Element:
    return next(envelope.iter(SECURITY))


def test_a_signed_message_is_its_signers(notary: Notary, alice: Signer) -> None:
    assert notary.ask(alice.destroy()) == ("DestroyResponse", "")
    assert notary.caller == Identity(ALICE, groups=frozenset({"physics"}), via="signature")
    assert notary.shelf.destroyed == ["w1"]


def test_rsa_and_a_path_of_certificates_work_too(notary: Notary, root: Authority) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    below = Authority.make("Below", above=root)
    key = rsa.generate_private_key(65537, 2048)
    assert notary.ask(Signer(below.issue("Bob", key=key)).destroy()) == ("DestroyResponse", "")
    assert notary.caller.name == "CN=Bob,O=Grid"


def test_without_a_credential_nothing_is_done(notary: Notary, alice: Signer) -> None:
    unsigned = alice.destroy()
    header(unsigned).remove(security(unsigned))
    name, why = notary.ask(unsigned)
    assert name == DENIED
    assert "no signature" in why
    assert notary.shelf.destroyed == []


@pytest.mark.parametrize("via", ["x509", "bearer"])
def test_a04_the_signer_is_the_one_who_sent_it(notary: Notary, alice: Signer, via: str) -> None:
    assert notary.ask(alice.destroy(), Identity("CN=Mallory,O=Grid", via=via))[0] == DENIED
    assert notary.shelf.destroyed == []
    assert notary.ask(alice.destroy(), Identity(ALICE, via=via, groups=frozenset({"tls"})))[0] == "DestroyResponse"
    assert notary.caller.groups == {"tls"}


@pytest.mark.parametrize("caller", [UNKNOWN, LOCAL])
def test_a04_a_signature_alone_counts_only_where_the_site_says_so(
    root: Authority, alice: Signer, tmp_path: Path, caller: Identity
) -> None:
    notary = Notary(root, tmp_path, alone=False)
    name, why = notary.ask(alice.destroy(), caller)
    assert (name, "beside" in why) == (DENIED, True)
    assert notary.ask(alice.destroy(), Identity(ALICE, via="x509"))[0] == "DestroyResponse"


def move_body(envelope: _Element) -> None:
    """Put the signed Body into a header and another in its place: the attack of McIntosh and Austel."""
    body = envelope[1]
    wrapper = etree.SubElement(header(envelope), "{urn:x}Wrapper")
    forged = etree.SubElement(envelope, f"{S}Body")
    forged.append(etree.Element(f"{{{NS['rl']}}}SetTerminationTime"))
    wrapper.append(body)


def move_body_keeping_its_id(envelope: _Element) -> None:
    move_body(envelope)
    envelope[-1].set(ID, header(envelope)[-1][0].get(ID) or "")


def move_into_security(envelope: _Element) -> None:
    body = envelope[1]
    forged = copy.deepcopy(body)
    forged.set(ID, "forged")
    envelope.replace(body, forged)
    security(envelope).append(body)


def move_into_the_signature(envelope: _Element) -> None:
    body = envelope[1]
    envelope.replace(body, copy.deepcopy(body))
    thing = etree.SubElement(next(envelope.iter(SIGNATURE)), f"{{{DS}}}Object")
    thing.append(body)


def change_the_body(envelope: _Element) -> None:
    envelope[1][0].set("{urn:x}more", "1")


def change_the_resource(envelope: _Element) -> None:
    (found,) = [each for each in header(envelope) if each.tag == f"{{{NS['fl']}}}ResourceID"]
    found.text = "w2"


def move_the_resource(envelope: _Element) -> None:
    (found,) = [each for each in header(envelope) if each.tag == f"{{{NS['fl']}}}ResourceID"]
    forged = copy.deepcopy(found)
    forged.attrib.pop(ID)
    wrapper = etree.SubElement(header(envelope), "{urn:x}Wrapper")
    header(envelope).replace(found, forged)
    wrapper.append(found)


def second_security(envelope: _Element) -> None:
    header(envelope).append(copy.deepcopy(security(envelope)))


def empty_second_security(envelope: _Element) -> None:
    header(envelope).insert(0, etree.Element(SECURITY, {f"{S}actor": "urn:other"}))


def unsigned_header(envelope: _Element) -> None:
    etree.SubElement(header(envelope), "{urn:x}More", {ID: "more"})


def unsigned_reply(envelope: _Element) -> None:
    reply = etree.SubElement(header(envelope), f"{WSA}ReplyTo", {ID: "reply"})
    etree.SubElement(reply, f"{WSA}Address").text = f"{NS['wsa']}/anonymous"


def other_time(envelope: _Element) -> None:
    next(envelope.iter(f"{{{WSU}}}Created")).text = "2026-11-22T00:00:00Z"


def other_timestamp(envelope: _Element) -> None:
    old = next(envelope.iter(TIMESTAMP))
    new = copy.deepcopy(old)
    new.set(ID, "new")
    security(envelope).replace(old, new)
    etree.SubElement(header(envelope), "{urn:x}Wrapper", {ID: "w"}).append(old)


def no_timestamp(envelope: _Element) -> None:
    security(envelope).remove(next(envelope.iter(TIMESTAMP)))


def duplicate_id(envelope: _Element) -> None:
    envelope[1][0].set(ID, envelope[1].get(ID) or "")


def duplicate_xml_id(envelope: _Element) -> None:
    envelope[1][0].set("{http://www.w3.org/XML/1998/namespace}id", envelope[1].get(ID) or "")


def same_id_for_two_parts(envelope: _Element) -> None:
    header(envelope)[0].set(ID, envelope[1].get(ID) or "")


def without_id(envelope: _Element) -> None:
    envelope[1].attrib.pop(ID)


def fewer_references(envelope: _Element) -> None:
    info = next(envelope.iter(f"{{{DS}}}SignedInfo"))
    info.remove(info[-1])


def method(algorithm: str, tag: str) -> Callable[[_Element], None]:
    def change(envelope: _Element) -> None:
        next(envelope.iter(f"{{{DS}}}{tag}")).set("Algorithm", algorithm)

    change.__name__ = f"{tag}={algorithm.rpartition('#')[2]}"
    return change


def more_transforms(envelope: _Element) -> None:
    transforms = next(envelope.iter(f"{{{DS}}}Transforms"))
    etree.SubElement(transforms, f"{{{DS}}}Transform", Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116")


def transform_with_parameters(envelope: _Element) -> None:
    etree.SubElement(next(envelope.iter(f"{{{DS}}}Transform")), f"{{{DS}}}XPath").text = "//*"


def reference(uri: str) -> Callable[[_Element], None]:
    def change(envelope: _Element) -> None:
        next(envelope.iter(f"{{{DS}}}Reference")).set("URI", uri)

    change.__name__ = f"URI={uri}"
    return change


def other_token_reference(envelope: _Element) -> None:
    next(envelope.iter(f"{{{WSSE}}}Reference")).set("URI", "#elsewhere")


def key_in_the_signature(envelope: _Element) -> None:
    info = next(envelope.iter(f"{{{DS}}}KeyInfo"))
    for child in list(info):
        info.remove(child)
    etree.SubElement(info, f"{{{DS}}}KeyName").text = "any"


def comment_in_the_token(envelope: _Element) -> None:
    token = next(envelope.iter(TOKEN))
    token.text, rest = (token.text or "")[:9], (token.text or "")[9:]
    etree.SubElement(token, "{urn:x}y").tail = rest


def not_base64(envelope: _Element) -> None:
    next(envelope.iter(TOKEN)).text = "MIIC!!"


def empty_signature(envelope: _Element) -> None:
    found = next(envelope.iter(SIGNATURE))
    for child in list(found):
        found.remove(child)


WRAPPED = [
    move_body,
    move_body_keeping_its_id,
    move_into_security,
    move_into_the_signature,
    change_the_body,
    change_the_resource,
    move_the_resource,
    second_security,
    empty_second_security,
    unsigned_header,
    unsigned_reply,
    other_time,
    other_timestamp,
    no_timestamp,
    duplicate_id,
    duplicate_xml_id,
    same_id_for_two_parts,
    without_id,
    fewer_references,
    method("http://www.w3.org/2000/09/xmldsig#rsa-sha1", "SignatureMethod"),
    method("http://www.w3.org/2000/09/xmldsig#hmac-sha1", "SignatureMethod"),
    method("http://www.w3.org/2001/04/xmldsig-more#hmac-sha256", "SignatureMethod"),
    method("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "SignatureMethod"),
    method("http://www.w3.org/2000/09/xmldsig#sha1", "DigestMethod"),
    method("http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "CanonicalizationMethod"),
    method(f"{EXCLUSIVE}WithComments", "CanonicalizationMethod"),
    method("http://www.w3.org/TR/1999/REC-xpath-19991116", "Transform"),
    method("http://www.w3.org/2000/09/xmldsig#enveloped-signature", "Transform"),
    more_transforms,
    transform_with_parameters,
    reference(""),
    reference("http://evil.example/x"),
    reference("file:///etc/passwd"),
    reference("#xpointer(/)"),
    reference("#xpointer(id('x'))"),
    other_token_reference,
    key_in_the_signature,
    comment_in_the_token,
    not_base64,
    empty_signature,
]


@pytest.mark.parametrize("change", WRAPPED, ids=lambda change: change.__name__)
def test_a04_a_message_that_was_changed_or_wrapped_is_refused(
    notary: Notary, alice: Signer, change: Callable[[_Element], None]
) -> None:
    envelope = alice.destroy()
    change(envelope)
    name, why = notary.ask(envelope)
    assert name in {DENIED, "s:Client"}, why
    assert notary.shelf.destroyed == []
    assert len(notary.replays) == 0


@pytest.mark.parametrize("change", [second_security, empty_second_security], ids=lambda change: change.__name__)
def test_a04_a_second_security_is_refused_for_being_there(
    notary: Notary, alice: Signer, change: Callable[[_Element], None]
) -> None:
    envelope = alice.destroy()
    change(envelope)
    assert "more than one" in notary.ask(envelope)[1]


@pytest.mark.parametrize(
    ("before", "after"),
    [("TransformEcdsaSha256", "TransformEcdsaSha1"), ("TransformSha256", "TransformSha1")]
    + [("TransformExclC14N", each) for each in ("TransformInclC14N", "TransformExclC14NWithComments")],
)
def test_a04_a_signature_that_fits_by_an_algorithm_that_is_not_allowed_is_refused(
    notary: Notary, root: Authority, before: str, after: str
) -> None:
    signer = Signer(root.issue("Alice"))
    constants = signer.signing._xmlsec.constants
    weak = SimpleNamespace(**{name: getattr(constants, name) for name in dir(constants)})
    setattr(weak, before, getattr(constants, after))
    xmlsec = signer.signing._xmlsec
    signer.signing._xmlsec = SimpleNamespace(
        constants=weak, template=xmlsec.template, SignatureContext=xmlsec.SignatureContext
    )
    signer.signing._method = weak.TransformEcdsaSha256
    name, why = notary.ask(signer.destroy())
    assert (name, "not one that is allowed" in why) == (DENIED, True), why


def test_a_proxy_signs_for_its_owner_with_the_rights_it_has(notary: Notary, alice: Signer) -> None:
    assert notary.ask(Signer(alice.credential.proxy()).destroy())[0] == "DestroyResponse"
    assert (notary.caller.name, notary.caller.limited) == (ALICE, False)
    notary.ask(Signer(alice.credential.proxy(language=LIMITED).proxy()).destroy())
    assert (notary.caller.name, notary.caller.limited) == (ALICE, True)


def test_an_administrators_limited_proxy_signs_as_no_administrator(notary: Notary, alice: Signer) -> None:
    connected = Identity(ALICE, admin=True, observer=True, via="x509")
    limited = Signer(alice.credential.proxy(language=LIMITED).proxy())
    notary.ask(limited.destroy(), caller=connected)
    seen = notary.caller
    assert (seen.name, seen.admin, seen.observer, seen.limited) == (ALICE, False, False, True)


def test_a04_a_proxy_that_tls_would_refuse_cannot_sign(notary: Notary, alice: Signer) -> None:
    for proxy in (alice.credential.proxy(path_length=0).proxy(), alice.credential.proxy(extension=None)):
        assert notary.ask(Signer(proxy).destroy())[0] == DENIED
    assert notary.shelf.destroyed == []


def told(envelope: bytes) -> list[bytes]:
    """Return what of a message is acted on: its Body, and every header but Security."""
    root = etree.fromstring(envelope)
    parts = [root[1], *(each for each in root[0] if each.tag != SECURITY)]
    return [etree.tostring(part, method="c14n", exclusive=True) for part in parts]


@pytest.fixture(scope="module")
def signed(alice: Signer) -> bytes:
    return etree.tostring(alice.destroy())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(min_value=0), byte=st.integers(min_value=0, max_value=255), drop=st.integers(0, 3))
def test_a04_no_byte_of_what_is_acted_on_can_be_changed(
    notary: Notary, signed: bytes, place: int, byte: int, drop: int
) -> None:
    place %= len(signed)
    changed = signed[:place] + bytes([byte]) + signed[place + drop :]
    notary.replays._seen.clear()
    notary.shelf.destroyed.clear()
    notary.ask(changed)
    assert notary.shelf.destroyed in ([], ["w1"])
    if notary.shelf.destroyed:
        assert told(changed) == told(signed)


def test_a04_two_bodies_or_a_body_that_comes_first_are_refused(notary: Notary, alice: Signer) -> None:
    for place in (0, 1, 2):
        envelope = alice.destroy()
        forged = copy.deepcopy(envelope[1])
        forged.set(ID, "forged")
        envelope.insert(place, forged)
        assert notary.ask(envelope)[0] == "s:Client"
    assert notary.shelf.destroyed == []


def test_a04_a_comment_does_not_cut_an_identity_or_an_id_short(notary: Notary, alice: Signer) -> None:
    data = etree.tostring(alice.destroy("w1"))
    assert data.count(b">w1<") == 1
    assert notary.ask(data.replace(b">w1<", b">w<!-- -->1<"))[0] == "DestroyResponse"  # one text, as it was signed
    data = etree.tostring(alice.destroy("w12"))
    assert notary.ask(data.replace(b">w12<", b">w1<!---->2<"))[0] == "ResourceUnknownFault"


def test_a04_a_certificate_of_another_authority_or_another_key_is_refused(
    notary: Notary, root: Authority, alice: Signer
) -> None:
    assert notary.ask(Signer(Authority.make("Evil").issue("Alice")).destroy())[0] == DENIED
    mallory = root.issue("Mallory")
    envelope = Signer(mallory).destroy()
    next(envelope.iter(TOKEN)).text = next(alice.destroy().iter(TOKEN)).text
    assert notary.ask(envelope) == (DENIED, "the signature does not fit the message and the certificate")
    assert notary.shelf.destroyed == []


def test_a04_a_certificate_that_has_ended_or_may_not_sign_is_refused(notary: Notary, root: Authority) -> None:
    old = root.issue("Alice", ends=now() - timedelta(minutes=1))
    assert notary.ask(Signer(old).destroy())[0] == DENIED
    assert notary.ask(Signer(root.issue("Alice", key_usage=ENCIPHER)).destroy())[0] == DENIED


@pytest.mark.parametrize(
    "to",
    ["http://other.example/workspace", f"{TO}/w1", f"{TO}/", "http://site.example/group", f"{NS['wsa']}/anonymous"],
)
def test_a04_a_message_for_another_address_is_refused(notary: Notary, alice: Signer, to: str) -> None:
    assert "another address" in notary.ask(alice.destroy(to=to))[1]


def test_a04_the_url_a_message_came_to_is_what_was_signed(notary: Notary, alice: Signer) -> None:
    assert notary.ask(alice.destroy(to=f"{TO}/w1"), resource="w1")[0] == "DestroyResponse"
    assert "another address" in notary.ask(alice.destroy(to=f"{TO}/w2"), resource="w1")[1]


def test_a_signer_has_his_own_rate_and_may_send_again_what_was_not_carried_out(
    root: Authority, alice: Signer, tmp_path: Path
) -> None:
    clock = [0.0]
    gate = Gate(lambda: clock[0], identity=Rate(0.5, 1))
    notary = Notary(root, tmp_path, count=gate.caller)
    envelope = alice.destroy()
    assert notary.ask(alice.destroy())[0] == "DestroyResponse"
    assert notary.ask(envelope) == ("TransientFault", "too many requests at once; this one was not carried out")
    let_in = "ResourceUnknownFault"  # what was asked for is done already
    assert notary.ask(Signer(root.issue("Bob")).destroy())[0] == let_in
    assert notary.ask(alice.destroy(), Identity(ALICE, via="x509"))[0] == let_in, "counted by its connection"
    clock[0] = 2.0
    assert notary.ask(envelope)[0] == let_in


def test_a05_a_message_that_comes_again_is_not_carried_out_again(notary: Notary, alice: Signer) -> None:
    envelope = alice.destroy()
    assert notary.ask(envelope)[0] == "DestroyResponse"
    notary.shelf.destroyed.clear()
    name, why = notary.ask(envelope)
    assert (name, "received before" in why) == (DENIED, True)
    assert notary.shelf.destroyed == []


def test_a05_a_message_id_counts_once_however_often_it_is_signed(
    notary: Notary, alice: Signer, root: Authority
) -> None:
    assert notary.ask(alice.destroy(message_id="urn:one"))[0] == "DestroyResponse"
    assert "received before" in notary.ask(alice.destroy(message_id="urn:one"))[1]
    assert "received before" not in notary.ask(Signer(root.issue("Bob")).destroy(message_id="urn:one"))[1]


def test_a05_a_message_is_good_for_a_while_only(notary: Notary, alice: Signer) -> None:
    envelope = alice.destroy()
    notary.late = WINDOW + timedelta(seconds=1)
    assert "too old" in notary.ask(envelope)[1]
    notary.late = -AHEAD - timedelta(seconds=60)
    assert "future" in notary.ask(alice.destroy())[1]
    notary.late = timedelta()
    assert notary.ask(envelope)[0] == "DestroyResponse"


def test_a05_what_is_forgotten_is_too_old_to_come_again(notary: Notary, alice: Signer) -> None:
    envelope = alice.destroy()
    notary.ask(envelope)
    assert len(notary.replays) == 1
    notary.late = WINDOW * 2
    assert "too old" in notary.ask(envelope)[1]
    notary.replays.take(ALICE, "urn:another", notary.now())
    assert len(notary.replays) == 1


def test_a05_a_copy_at_the_very_end_of_the_window_is_known_or_too_old() -> None:
    """Time passes between the first look at a message and its being noted."""
    made = datetime(2026, 3, 1, 12, tzinfo=UTC)
    clock = iter([made - WINDOW, made, made, made + WINDOW, made + WINDOW + timedelta(milliseconds=1)])
    replays = Replays(lambda: next(clock))
    replays.in_time(made, None)
    replays.take(ALICE, "urn:one", made)
    replays.in_time(made, None)
    with pytest.raises(SignatureError, match="too old"):
        replays.take(ALICE, "urn:one", made)


def test_a05_a_clock_that_is_set_back_lets_no_copy_in() -> None:
    made = datetime(2026, 3, 1, 12, tzinfo=UTC)
    clock = iter([made - WINDOW, made, made + WINDOW + timedelta(seconds=5), made + timedelta(seconds=30)])
    replays = Replays(lambda: next(clock))
    replays.take(ALICE, "urn:one", made)
    replays.take(ALICE, "urn:two", made + timedelta(seconds=20))
    with pytest.raises(SignatureError, match="before"):
        replays.take(ALICE, "urn:one", made)


@pytest.mark.parametrize("usage", [[ExtendedKeyUsageOID.SERVER_AUTH], [ExtendedKeyUsageOID.EMAIL_PROTECTION]])
def test_a06_a_certificate_that_is_not_for_clients_signs_nothing(
    notary: Notary, root: Authority, usage: list[ObjectIdentifier]
) -> None:
    assert notary.ask(Signer(root.issue("Alice", usage=usage)).destroy())[0] == DENIED
    assert notary.shelf.destroyed == []
    both = Signer(root.issue("Alice", usage=[*usage, ExtendedKeyUsageOID.CLIENT_AUTH]))
    assert notary.ask(both.destroy())[0] == "DestroyResponse"


def test_a05_a_restart_does_not_let_old_messages_in_again(root: Authority, alice: Signer, tmp_path: Path) -> None:
    envelope = alice.destroy()
    notary = Notary(root, tmp_path, late=timedelta(hours=1))
    notary.late = timedelta()
    name, why = notary.ask(envelope)
    assert (name, "just started" in why) == ("TransientFault", True)


def test_a05_the_memory_is_bounded_and_one_sender_does_not_fill_it(
    root: Authority, alice: Signer, tmp_path: Path
) -> None:
    notary = Notary(root, tmp_path, replay={"most": 4, "per_sender": 3})
    for _ in range(3):
        assert notary.ask(alice.destroy())[0] in {"DestroyResponse", "ResourceUnknownFault"}
    assert notary.ask(alice.destroy())[0] == "ExhaustedFault"
    assert notary.ask(Signer(root.issue("Bob")).destroy())[0] == "ResourceUnknownFault"
    assert notary.ask(Signer(root.issue("Carol")).destroy())[0] == "ExhaustedFault"
    assert len(notary.replays) == 4


def test_without_signatures_a_header_that_must_be_understood_is_not(alice: Signer) -> None:
    from rigs.soap import Shelf, endpoint

    answer = endpoint(Shelf()).call(etree.tostring(alice.destroy()))
    assert b"MustUnderstand" in answer.body
    refused = endpoint(Shelf()).call(message("<rl:Destroy/>"), caller=UNKNOWN)
    assert DENIED.encode() in refused.body


def test_what_cannot_sign_is_told_so(root: Authority) -> None:
    with pytest.raises(InvalidError):
        Signing(b"none", b"none")
    with pytest.raises(InvalidError):
        Signing(root.issue("Alice").pem, b"none")
