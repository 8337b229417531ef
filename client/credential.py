"""What a client shows to a service over TLS, and whose word it takes for who the service is."""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyinglow.nodectl.errors import BrokenError, InvalidError

if TYPE_CHECKING:
    from pathlib import Path

    from flyinglow.client.signing import Signing


class CredentialError(BrokenError):
    """A file by which a caller is known, or knows services, cannot be used; the command says what to do about it."""

    side = "your side"
    hint = (
        "make a proxy (`grid-proxy-init -rfc`), or name other files: --proxy, --cert and --key, --ca-dir, --token-file"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A certificate and its key (PEM), or a proxy, which is one file with both and the certificates above it.

    ``private_key`` None: the key is in the same file. ``ca_directory`` holds the authorities of services under hashed
    names, as ``/etc/grid-security/certificates`` does; None: those that the system trusts. ``token_file`` holds a
    bearer token, for services that know callers by tokens; it is read for each request, so it may be renewed. With
    ``sign`` each message is signed with the key (WS-Security), too.
    """

    certificate: Path | None = None
    private_key: Path | None = None
    ca_directory: Path | None = None
    token_file: Path | None = None
    sign: bool = False

    def signing(self) -> Signing | None:
        """Return what signs messages, if they are to be signed. Raises InvalidError or BrokenError."""
        if not self.sign:
            return None
        if self.certificate is None:
            raise InvalidError("messages are signed with a certificate and its key; none is named")
        from flyinglow.client.signing import Signing  # noqa: PLC0415 # what signs is optional

        try:
            certificate = self.certificate.read_bytes()
            key = certificate if self.private_key is None else self.private_key.read_bytes()
        except OSError as error:
            raise CredentialError(f"{error.filename} cannot be read: {error.strerror}") from None
        return Signing(certificate, key)

    def context(self) -> ssl.SSLContext:
        """Return a TLS context with it. Raises InvalidError or BrokenError that says which file is wrong, and how."""
        context = ssl.create_default_context(capath=self._authorities())
        # authorities of grids often lack what the newest Python wants of them
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.certificate is not None:
            self._load(context, self.certificate, self.private_key or self.certificate)
        return context

    def _authorities(self) -> str | None:
        if self.ca_directory is not None and not self.ca_directory.is_dir():
            raise CredentialError(f"{self.ca_directory} is no directory of authorities")
        return None if self.ca_directory is None else str(self.ca_directory)

    def _load(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        for path in (certificate, key):
            if not path.is_file():
                raise CredentialError(f"there is no file {path} with a certificate or key")
        if key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CredentialError(f"others than its owner may use the key in {key}; chmod 0600 it")
        try:
            context.load_cert_chain(certificate, key, password=_ask_nobody)
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or error.strerror
            raise CredentialError(f"{certificate} and {key} are no certificate and its key (PEM): {reason}") from None


def _ask_nobody() -> str:
    raise InvalidError("the key has a pass phrase, which is not asked for here; make a proxy with grid-proxy-init")
