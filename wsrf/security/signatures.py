"""Whom a signed message comes from: position, coverage, time, certificate, signature and first receipt, in this order.

A signature is a way in of its own or, where the connection has shown a certificate, must be by the same subject: then
it adds the proof that the message itself is that subject's.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from flyinglow.access.identity import LOCAL, UNKNOWN, Identity
from flyinglow.access.refusal import UnauthenticatedError
from flyinglow.nodectl.errors import DeniedError, InvalidError
from flyinglow.wsrf.gate import too_many
from flyinglow.wsrf.security import certificates, coverage, positions, proof
from flyinglow.wsrf.security.names import CREATED, EXPIRES
from flyinglow.wsrf.security.positions import SignatureError
from flyinglow.wsrf.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography import x509
    from lxml.etree import _Element

    from flyinglow.wsrf.addresses import Addresses
    from flyinglow.wsrf.operation import Inbound
    from flyinglow.wsrf.security.replay import Replays


_NOBODY = frozenset({UNKNOWN.via, LOCAL.via})  # how a caller is known who has shown nothing


class Signers(Protocol):
    """Who may sign."""

    def identify(self, chain: Sequence[x509.Certificate]) -> Identity:
        """Return whom a chain, the sender's certificate first, stands for. Raises DeniedError with the reason."""


class Signatures:
    """Checks the signatures of messages. Safe to use from several threads.

    ``alone``: whether a signature is enough, on a connection that shows no certificate. ``count`` hears of each signer
    who shows nothing else, and returns the seconds after which he may come again, or 0.0.
    """

    def __init__(
        self,
        signers: Signers,
        replays: Replays,
        addresses: Addresses,
        *,
        alone: bool,
        count: Callable[[Identity], float] = lambda _: 0.0,
    ) -> None:
        proof.available()
        self._count = count
        self._signers, self._replays, self._addresses, self._alone = signers, replays, addresses, alone

    def caller(self, root: _Element, soap_ns: str, inbound: Inbound, service: str) -> Identity:
        """Return who sent a message, signed or not.

        Raises SignatureError for a signature that proves nothing, DeniedError for a signer who is not let in.
        """
        signed = positions.find(root, soap_ns)
        if signed is None:
            if inbound.caller.via == UNKNOWN.via:
                raise UnauthenticatedError("the request carries no credential and no signature")
            return inbound.caller
        only = inbound.caller.via in _NOBODY
        signer = self._signer(signed, self._address(inbound, service), only=only)
        return self._bound(inbound.caller, signer)

    def _address(self, inbound: Inbound, service: str) -> str:
        if inbound.resource is None:
            return self._addresses.service(service)
        return self._addresses.resource(service, inbound.resource)

    def _signer(self, signed: positions.Signed, address: str, *, only: bool) -> Identity:
        coverage.check(signed)
        if signed.to != address:
            raise SignatureError(f"the message was signed for another address than {address}")
        created = _time(signed.timestamp, CREATED)
        if created is None:
            raise SignatureError("the Timestamp does not say when the message was created")
        self._replays.in_time(created, _time(signed.timestamp, EXPIRES))
        chain = certificates.read(signed.token)
        signer = self._signers.identify(chain)
        proof.prove(signed, chain[0])
        if only and (wait := self._count(signer)):  # not carried out: it may come again
            raise too_many(wait)
        self._replays.take(signer.name, signed.message_id, created)
        return signer

    def _bound(self, caller: Identity, signer: Identity) -> Identity:
        if caller.via in _NOBODY:
            if not self._alone:
                raise DeniedError("a signature counts here only beside the TLS certificate of the same subject")
            return replace(signer, via="signature")
        if caller.name != signer.name:
            raise DeniedError("the message was signed by another than the one who sent it")
        return replace(
            caller,
            admin=caller.admin and signer.admin,
            observer=caller.observer and signer.observer,
            limited=caller.limited or signer.limited,
        )


def _time(timestamp: _Element, tag: str) -> datetime | None:
    found = timestamp.findall(tag)
    if len(found) > 1 or any(child.tag not in {CREATED, EXPIRES} for child in timestamp):
        raise SignatureError("the Timestamp does not hold one Created and one Expires")
    try:
        return parse_time(found[0].text or "") if found else None
    except InvalidError as error:
        raise SignatureError(f"the Timestamp cannot be read: {error.message}") from None
