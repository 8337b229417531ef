"""What the doctor sees of TLS: certificates and keys of the listeners, the authorities of callers, their CRLs."""

from __future__ import annotations

import os
import pwd
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509

from flyinglow.access import subjects
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.server.callers import authorities, mapping
from flyinglow.server.doctor.finding import Finding
from flyinglow.server.tls import listening as tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flyinglow.server.callers.authorities import Authorities
    from flyinglow.server.configuration.settings import ClientListener, Config, GuestListener, NodeListener

_SOON: Final = timedelta(days=14)
_SHOWN: Final = 5


def examine(config: Config) -> Iterator[Finding]:
    """Look at what each listener that speaks TLS serves with, and at the files by which callers are known."""
    listen = config.listen
    for name, listener in (("client", listen.client), ("node", listen.node), ("guest", listen.guest)):
        if listener.certificate is not None:
            yield _certificate(name, listener, config.server.user)
    if listen.client.ca_directory is not None:
        yield from _callers(listen.client, listen.client.ca_directory)


def _certificate(name: str, listener: ClientListener | NodeListener | GuestListener, user: str) -> Finding:
    what, path = f"certificate {name}", listener.certificate
    fix = f"name a certificate (PEM) and its key in [listen.{name}]; the key with mode 0600"
    try:
        tls.server_context(path, listener.private_key, f"[listen.{name}]")
        shown = x509.load_pem_x509_certificates(path.read_bytes() if path else b"")[0]
    except (FlyingLowError, OSError, ValueError) as error:
        return Finding(what, ok=False, detail=str(error), fix=fix)
    if listener.private_key is not None and not _is_readable(listener.private_key, user):
        detail = f"{listener.private_key} cannot be read by {user}, which serve becomes"
        return Finding(what, ok=False, detail=detail, fix=f"chown {user} {listener.private_key}")
    ends, moment = shown.not_valid_after_utc, datetime.now(UTC)
    fix = "put a new one in its place; it is served without a restart"
    detail = f"{path} {'expired' if ends <= moment else 'is valid until'} {ends:%Y-%m-%d %H:%M} UTC"
    return Finding(what, ok=ends > moment + _SOON, detail=detail, fix=fix)


def _is_readable(path: Path, user: str) -> bool:
    """Say whether the daemon will be able to read a file; only root has to look at another user's rights."""
    if os.geteuid() != 0:
        return os.access(path, os.R_OK)
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return True  # told by the finding about the user
    found = path.stat()
    mine = found.st_uid == entry.pw_uid and found.st_mode & 0o400
    return bool(mine or (found.st_gid == entry.pw_gid and found.st_mode & 0o040))


def _callers(listener: ClientListener, directory: Path) -> Iterator[Finding]:
    try:
        found = authorities.read(directory)
    except FlyingLowError as error:
        fix = "install the authorities there (fetch-crl and `openssl rehash` name the files)"
        yield Finding("authorities", ok=False, detail=error.message, fix=fix)
        return
    yield _authorities(found, directory)
    if listener.crl != "off":
        yield _crls(found, listener)
    if listener.mapfile is not None or listener.voms_directory is not None:
        yield _mapping(listener)


def _authorities(found: Authorities, directory: Path) -> Finding:
    moment = datetime.now(UTC)
    expired = [
        f"{subjects.of(each.subject)} has expired"
        for each in found.certificates.values()
        if each.not_valid_after_utc <= moment
    ]
    wrong = [*found.problems, *expired]
    detail = f"{directory} has {len(found.certificates)}, {len(found.policies)} with a signing policy"
    fix = "mend or remove these files; `openssl rehash` names certificates after their hashes"
    return Finding("authorities", ok=not wrong, detail=_listed(wrong) or detail, fix=fix)


def _crls(found: Authorities, listener: ClientListener) -> Finding:
    limit = datetime.now(UTC) - timedelta(seconds=listener.crl_grace)
    wrong = [
        f"that of {issuer} ran out {due:%Y-%m-%d %H:%M} UTC"
        for issuer in found.crls
        if (due := found.next_update(issuer)) is not None and due <= limit
    ]
    if listener.crl == "required":
        issuers = (subjects.of(each.subject) for each in found.certificates.values())
        wrong += [f"{issuer} has none" for issuer in issuers if issuer not in found.crls]
    detail = f"{len(found.crls)} authorities have a CRL that is in force"
    return Finding("CRLs", ok=not wrong, detail=_listed(wrong) or detail, fix="run fetch-crl, and see that cron does")


def _mapping(listener: ClientListener) -> Finding:
    try:
        found = mapping.read(listener)
    except FlyingLowError as error:
        return Finding("mapfile", ok=False, detail=error.message, fix="correct these lines")
    detail = f"{len(found.mapfile.names)} subjects, {len(found.servers.chains)} VOMS servers"
    return Finding("mapfile", ok=True, detail=detail)


def _listed(wrong: list[str]) -> str:
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return "; ".join(wrong[:_SHOWN]) + more
