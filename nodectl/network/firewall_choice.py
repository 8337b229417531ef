"""Choose what guards the ports of VMs, as the node's configuration says."""

from __future__ import annotations

import hashlib

from flyinglow.nodectl.config import ROOT_STATE, Config
from flyinglow.nodectl.network.firewall import Firewall, Unguarded
from flyinglow.nodectl.network.firewall_ebtables import Ebtables
from flyinglow.nodectl.network.firewall_nft import Nft

NAME = "flyinglow"


def firewall_of(config: Config) -> Firewall:
    """Return the guard that ``spoofing_rules`` names, with what tells it from another state directory's."""
    digest = hashlib.sha256(str(config.state).encode()).hexdigest()
    if config.spoofing_rules == "off":
        return Unguarded()
    if config.spoofing_rules == "ebtables":
        return Ebtables(config.ebtables, digest[:6])
    return Nft(config.nft, NAME if config.state == ROOT_STATE else f"{NAME}_{digest[:8]}")
