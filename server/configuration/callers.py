"""Holds the keys of ``[listen.client]`` by which callers are known against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flyinglow.server.configuration.settings import ClientListener

_CHOICES = {
    "client_certificates": ("required", "optional"),
    "crl": ("required", "present", "off"),
    "signatures": ("off", "beside", "alone"),
}
_NEED_AUTHORITIES = ("mapfile", "voms_directory")


def are_known(listener: ClientListener, *, tokens: bool) -> bool:
    """Say whether callers of this listener have to show who they are, over TLS: by a certificate or a token."""
    return listener.certificate is not None and (tokens or listener.ca_directory is not None)


def faults(listener: ClientListener) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path and the words for each fault."""
    for path, what in _faults(listener):
        yield ("listen", "client", path), what


def _faults(listener: ClientListener) -> Iterator[tuple[str, str]]:
    if (listener.certificate is None) != (listener.private_key is None):
        yield "certificate", "certificate and private_key go together"
    if listener.certificate is not None and listener.base_url.startswith("http://"):
        yield "base_url", "is http://, but with a certificate the listener speaks https"
    if listener.ca_directory is not None and listener.certificate is None:
        yield "ca_directory", "callers show certificates over TLS only, which needs certificate and private_key"
    for key in _NEED_AUTHORITIES:
        if getattr(listener, key) is not None and listener.ca_directory is None:
            yield key, "is of use with a ca_directory only"
    if listener.signatures != "off" and listener.ca_directory is None:
        yield "signatures", "are of use with a ca_directory only"
    if listener.mapfile_only and listener.mapfile is None:
        yield "mapfile_only", "there is no mapfile"
    yield from _values(listener)


def _values(listener: ClientListener) -> Iterator[tuple[str, str]]:
    for key, choices in _CHOICES.items():
        if getattr(listener, key) not in choices:
            yield key, f"{getattr(listener, key)!r} is not {' or '.join(choices)}"
    for key, least in (("crl_grace", 0), ("reload_every", 1)):
        if not getattr(listener, key) >= least:
            yield key, f"is less than {least}"
