"""NICs that cannot be leased: networks that are not there, addresses that a lessee may not choose, names too long."""

import pytest

from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.model import Nic
from rigs.site import Site, part


@pytest.mark.parametrize(
    ("nics", "words"),
    [
        ((Nic(network="nowhere"),), "there is no network 'nowhere' here"),
        ((Nic(network=""),), "there is no network ''"),
        ((Nic(network="private", mac="52:54:00:00:00:01"),), "the site chooses the addresses on private"),
        ((Nic(network="private", ip="10.1.0.1"),), "the site chooses the addresses on private"),
        ((Nic(network="private", name="n" * 16),), "at most 15 characters, not 16"),
        ((Nic(network="private", name="a"), Nic(network="private", name="a")), "interface"),
    ],
)
def test_a_nic_that_cannot_be_leased_is_refused_and_nothing_is_held(
    site: Site, nics: tuple[Nic, ...], words: str
) -> None:
    with pytest.raises(InvalidError, match=words):
        site.create(part(nics=nics))
    assert site.states() == {}


def test_a_name_of_fifteen_characters_is_one(site: Site) -> None:
    site.create(part(nics=(Nic(network="private", name="n" * 15), Nic(network="private"))))
    assert [nic.name for nic in site.row("vm").nics] == ["n" * 15, "eth1"]


def test_no_two_leases_have_one_mac(site: Site) -> None:
    site.create(part("a", 3, networks=("private", "private")))
    macs = [nic.mac for name in site.states() for nic in site.row(name).nics]
    assert len(macs) == len(set(macs)) == 6
