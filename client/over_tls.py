"""HTTPS as the client library speaks it: with a TLS context of its own, and with errors that say whose fault it is."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

from flyinglow.nodectl.errors import BrokenError, DeniedError, FlyingLowError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NO_VERDICT: Final = frozenset({"UNEXPECTED_EOF_WHILE_READING"})


def adapter(context: ssl.SSLContext) -> Any:
    """Return what a session of requests mounts to use this context, whatever the environment says of authorities."""
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 # comes with zeep, which is imported late, too

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **keys: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **keys)

        def proxy_manager_for(self, *args: Any, **keys: Any) -> Any:
            return super().proxy_manager_for(*args, ssl_context=context, **keys)

        def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
            # with a context of our own: no other authorities are to be loaded into it
            host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
            return host, {}

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            conn.cert_reqs, conn.ca_certs, conn.ca_cert_dir = "CERT_REQUIRED", None, None

    return Adapter()


def served(certificate: Path, private_key: Path | None, callers: Path | None = None) -> ssl.SSLContext:
    """Return what a listener of the client's own speaks TLS with. Raises BrokenError that says which file is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, private_key)
        if callers is not None:
            context.load_verify_locations(callers)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise BrokenError(f"{certificate} or its key cannot be used to listen: {error}") from error
    return context


def refusal(error: BaseException, url: str) -> FlyingLowError | None:
    """Return the error for a connection that one of its ends would not have; None: it broke for another reason."""
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return BrokenError(
                f"the service at {url} does not prove who it is: {each.verify_message}; are its authorities in the "
                "directory of authorities?"
            )
        if isinstance(each, ssl.SSLError) and each.reason and each.reason not in _NO_VERDICT:
            said = each.reason.lower().replace("_", " ")
            return DeniedError(f"the service at {url} does not take what was shown to it: {said}")
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that it was made of; requests and urllib3 wrap each other's several times."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
