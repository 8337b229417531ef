"""The keys by which callers are known: which go together, and when the listener may leave loopback."""

from __future__ import annotations

import pytest

from flyinglow.nodectl.errors import InvalidError
from flyinglow.server.configuration.file import parse

TLS = 'certificate = "/c.pem"\nprivate_key = "/k.pem"\n'
KNOWN = f'{TLS}ca_directory = "/etc/grid-security/certificates"\n'


def client(lines: str) -> str:
    return f"[listen.client]\n{lines}"


def test_with_certificates_asked_for_the_listener_may_leave_loopback() -> None:
    assert parse(client(f'address = "0.0.0.0"\n{KNOWN}'), "f").listen.client.client_certificates == "required"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('address = "0.0.0.0"', "callers are not authenticated"),
        (f'address = "0.0.0.0"\n{TLS}', "callers are not authenticated"),
        ('certificate = "/c.pem"', "go together"),
        ('private_key = "/k.pem"', "go together"),
        ('ca_directory = "/ca"', "over TLS only"),
        (f'{TLS}mapfile = "/m"', "mapfile: is of use with a ca_directory only"),
        (f'{TLS}voms_directory = "/v"', "voms_directory: is of use with a ca_directory only"),
        (f"{KNOWN}mapfile_only = true", "there is no mapfile"),
        (f'{KNOWN}client_certificates = "never"', "'never' is not required or optional"),
        (f'{KNOWN}crl = "maybe"', "'maybe' is not required or present or off"),
        (f"{KNOWN}crl_grace = -1", "less than 0"),
        (f"{KNOWN}reload_every = 0.5", "less than 1"),
        (f'{TLS}base_url = "http://vm.example:8480"', "speaks https"),
    ],
)
def test_what_does_not_go_together_is_said(lines: str, said: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(client(lines), "f")
    assert said in caught.value.message
