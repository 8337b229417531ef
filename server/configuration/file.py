"""Reads the configuration file; says every fault of it at once, each with its line number."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from flyinglow.backend import loading, reach
from flyinglow.nodectl.errors import FlyingLowError, InvalidError
from flyinglow.nodectl.spec import INTERFACE
from flyinglow.server.configuration import access as config_access
from flyinglow.server.configuration import callers as config_callers
from flyinglow.server.configuration import networks as config_networks
from flyinglow.server.configuration import tokens as config_tokens
from flyinglow.server.configuration.lines import line_of
from flyinglow.server.configuration.settings import ClientListener, Config, GuestListener, NodeListener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flyinglow.server.configuration.settings import Listener


_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/?")
_HOST = re.compile(r"[A-Za-z0-9*:.-]{1,253}")


def load(path: Path) -> Config:
    """Read and check a configuration file. Raises InvalidError naming the file, and each fault with its line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"the configuration {path} cannot be read: {error.strerror}. `flyinglow init` writes one."
        raise InvalidError(message) from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Config:
    """Parse the text of a configuration file called ``name``. Raises InvalidError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{name}: not TOML: {error}"
        raise InvalidError(message) from None
    try:
        config: Config = _CONVERTER.structure(data, Config)
    except (ClassValidationError, IterableValidationError) as error:
        raise InvalidError(_listing(name, text, list(_faults(error, ())))) from None
    wrong = list(_contradictions(config))
    if wrong:
        raise InvalidError(_listing(name, text, wrong))
    return config


def _listing(name: str, text: str, faults: list[tuple[tuple[str, ...], str]]) -> str:
    lines = sorted((line_of(text, path), path, what) for path, what in faults)
    return "\n".join(f"{name}:{line}: {'.'.join(path)}: {what}" for line, path, what in lines)


def _faults(error: BaseException, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(error, ForbiddenExtraKeysError):
        for extra in sorted(error.extra_fields):
            yield (*path, extra), "unknown key"
    elif isinstance(error, ClassValidationError | IterableValidationError):
        for inner in error.exceptions:
            yield from _faults(inner, (*path, *_step(inner)))
    elif isinstance(error, KeyError):
        yield path, "this key is missing"
    else:
        yield path, str(error)


def _step(error: BaseException) -> tuple[str, ...]:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return (note.name,)
        if isinstance(note, IterableValidationNote):
            return (str(note.index),)
    return ()


def _contradictions(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    yield from config_networks.faults(config)
    yield from config_tokens.faults(config.issuer, config.listen.client.group_sources)
    yield from config_access.faults(config)
    yield from _nodes(config)
    for name, image in config.image.items():
        if image.file is None and image.path is None:
            yield ("image", name, "path"), "either path or file is needed"
    yield from _image_uris(config)
    yield from _listening(config)
    for network in config.notification.allow_networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            yield ("notification", "allow_networks"), str(error)
    if config.lease.default_duration > config.lease.maximum_duration:
        yield ("lease", "default_duration"), "is longer than maximum_duration"
    for key, least in (("save_rate", 0.001), ("save_margin", 0), ("save_retry", 1)):
        if not getattr(config.lease, key) >= least:
            yield ("lease", key), f"is less than {least}"
    yield from _backend(config)


def _image_uris(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    table = config.image_uri
    for scheme in table.schemes:
        if scheme not in {"store", "https", "http", "scp", "sftp", "file"}:
            yield ("image_uri", "schemes"), f"{scheme!r} is not store, https, http, scp, sftp or file"
    for host in table.hosts:
        if not _HOST.fullmatch(host):
            yield ("image_uri", "hosts"), f"{host!r} is not the name or number of a host, nor one with * in it"
    for directory in table.directories:
        if not directory.startswith("/") or ".." in directory.split("/") or directory.strip("/") == "":
            yield ("image_uri", "directories"), f"{directory!r} is not the absolute path of a directory below the root"
    for architecture, name in table.kernels.items():
        if name not in config.image:
            yield ("image_uri", "kernels"), f"there is no [image.{name}]"
        elif config.image[name].architecture != architecture:
            theirs = config.image[name].architecture
            yield ("image_uri", "kernels"), f"[image.{name}] is of architecture {theirs}, not {architecture}"


def _backend(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    try:
        for path, what in loading.check(config.backend.kind, config.backend.options):
            yield ("backend", "options", *path), what
    except FlyingLowError as error:
        yield ("backend", "kind"), error.message


def _nodes(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, node in config.node.items():
        try:
            reach.parse({"channel": node.channel, **node.reach}, name)
        except InvalidError as error:
            yield ("node", name, "reach"), error.message
        for network, bridge in node.networks.items():
            if network not in config.network:
                yield ("node", name, "networks"), f"there is no [network.{network}]"
            if bridge and not INTERFACE.match(bridge):
                yield ("node", name, "networks"), f"{bridge!r} is no bridge: a name has at most 15 characters"


def _listening(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    listen = config.listen
    for name, listener in (("client", listen.client), ("node", listen.node), ("guest", listen.guest)):
        try:
            loopback = ipaddress.ip_address(listener.address).is_loopback
        except ValueError:
            yield ("listen", name, "address"), f"{listener.address!r} is not an IP address"
            continue
        if not loopback and not listener.insecure and not _is_secured(listener, tokens=bool(config.issuer)):
            yield ("listen", name, "address"), f"{listener.address} is not loopback and {_EXPOSED[name]}"
    yield from config_callers.faults(listen.client)
    yield from _guest_url(listen.guest.base_url)


def _guest_url(url: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what is wrong with the address that guests are told: it stands in a line of words, and has no path."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or not _PLAIN_URL.fullmatch(url):
        yield ("listen", "guest", "base_url"), f"{url!r} is not an address such as http://10.1.0.1:8482"


# Pilots sign every report with their own keys; what they carry can be read by others without TLS.
_CALLERS = (
    "callers are not authenticated; name certificate, private_key and ca_directory (or an [issuer.NAME]), listen on "
    "127.0.0.1, or set insecure = true if you know who can reach it"
)
_EXPOSED = {
    "client": _CALLERS,
    "guest": "without TLS others on the guests' networks can read their tokens; name certificate and private_key, or "
    "set insecure = true if you know who can listen there",
    "node": "without TLS others on the network can read what pilots say, the slots' keys included; name certificate "
    "and private_key, or set insecure = true if you know who can listen there",
}


def _is_secured(listener: Listener, *, tokens: bool) -> bool:
    if isinstance(listener, ClientListener):
        return config_callers.are_known(listener, tokens=tokens)
    return isinstance(listener, NodeListener | GuestListener) and listener.certificate is not None


def _strict(wanted: type | tuple[type, ...], name: str) -> Any:
    def check(value: Any, _type: Any) -> Any:
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            message = f"{value!r} is not {name}"
            raise TypeError(message)
        return value

    return check


def _path(value: Any, _type: Any) -> Path:
    if not isinstance(value, str) or not value.startswith("/"):
        message = f"{value!r} is not an absolute path"
        raise TypeError(message)
    return Path(value)


def _converter() -> cattrs.Converter:
    # cattrs would turn 5 into "5" and "yes" into True: a configuration is taken at its word or refused
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(str, _strict(str, "a string"))
    converter.register_structure_hook(int, _strict(int, "a whole number"))
    converter.register_structure_hook(float, _strict((int, float), "a number"))
    converter.register_structure_hook(bool, _strict(bool, "true or false"))
    converter.register_structure_hook(Path, _path)
    return converter


_CONVERTER = _converter()
