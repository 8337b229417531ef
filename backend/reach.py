"""How the service reaches a node: the keys of ``NodeState.reach``, with their meaning and what is allowed in them.

Everything here ends up in an argument list or, on the far side of ssh, in the words a login shell reads. So each value
is held to a pattern that leaves no room for options, blanks or a shell's signs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flyinglow.backend.options import read
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATH = re.compile(r"/[A-Za-z0-9_.+@/-]*")
_PROGRAM = re.compile(r"/[A-Za-z0-9_.+@/-]*|[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9A-Fa-f:]{2,39}")
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalReach:
    """The node is the machine the service runs on (``channel = "local"``)."""

    agent: str = "flyinglow-nodectl"  # the program, by path or by a name on the PATH
    sudo: bool = False  # run it by sudo; sudoers allows it without arguments, so not together with config
    config: str | None = None  # the agent's own configuration file


@dataclass(frozen=True, slots=True, kw_only=True)
class SshReach:
    """The node is reached by OpenSSH (``channel = "ssh"``); its host key must be in ``known_hosts`` already."""

    address: str  # host name or IP address
    identity: str  # path of the private key
    known_hosts: str  # path of the file with the node's host key
    user: str = "root"
    port: int = 22
    agent: str = "/usr/bin/flyinglow-nodectl"
    sudo: bool = False
    config: str | None = None
    connect_timeout: int = 10  # seconds
    alive_interval: int = 15  # seconds between signs of life; three missed ones end the connection


Reach = LocalReach | SshReach


def parse(mapping: Mapping[str, Any], node: str) -> Reach:
    """Read a node's ``reach``; an empty one is local. Raises InvalidError, naming the node."""
    keys = dict(mapping)
    channel = keys.pop("channel", "local")
    where = f"the reach of node {node}"
    if channel == "local":
        return _checked_local(read(LocalReach, keys, where), where)
    if channel == "ssh":
        return _checked_ssh(read(SshReach, keys, where), where)
    raise InvalidError(f"{where} names the unknown channel {channel!r}; known are local and ssh")


def _checked_local(reach: LocalReach, where: str) -> LocalReach:
    _checked_agent(reach, where)
    return reach


def _checked_ssh(reach: SshReach, where: str) -> SshReach:
    _checked_agent(reach, where)
    _match(_ADDRESS, reach.address, "address", where)
    _match(_USER, reach.user, "user", where)
    _match(_PATH, reach.identity, "identity", where)
    _match(_PATH, reach.known_hosts, "known_hosts", where)
    if not 0 < reach.port <= _HIGHEST_PORT:
        raise InvalidError(f"'port' of {where} must lie between 1 and {_HIGHEST_PORT}, not {reach.port}")
    if reach.connect_timeout < 1 or reach.alive_interval < 1:
        raise InvalidError(f"the times of {where} must be at least one second")
    return reach


def _checked_agent(reach: Reach, where: str) -> None:
    _match(_PROGRAM, reach.agent, "agent", where)
    if reach.config is not None:
        _match(_PATH, reach.config, "config", where)
        if reach.sudo:
            raise InvalidError(f"{where} has both sudo and config; under sudo the agent reads its default file only")


def _match(pattern: re.Pattern[str], value: str, key: str, where: str) -> None:
    if not pattern.fullmatch(value):
        raise InvalidError(f"{key!r} of {where} has signs that are not allowed there: {value!r}")
