"""What a part may ask for of its nodes' hardware: what the site offers, as far as the service can know.

Whether a node has it free when the VM is made is the node's to say.
"""

from __future__ import annotations

from collections import Counter

from flyinglow.factory.model import Part
from flyinglow.nodectl.errors import InvalidError, NeverError
from flyinglow.workspace.terms import HardwareTerms


def check(part: Part, terms: HardwareTerms) -> None:
    """Raise InvalidError for a device that is not of this site, NeverError for what it does not offer."""
    asked = part.hardware
    offered = (
        ("CPUs of its own", asked.dedicated_cpus, terms.dedicated_cpus),
        ("huge pages", asked.huge_pages, terms.huge_pages),
        ("a NUMA node", asked.numa_node is not None, terms.numa_nodes > 0),
    )
    for what, wanted, there in offered:
        if wanted and not there:
            raise NeverError(f"part {part.name}: this site offers no workspace {what}")
    if asked.numa_node is not None and not 0 <= asked.numa_node < terms.numa_nodes:
        figures = {"numa_node.asked": asked.numa_node, "numa_node.max": terms.numa_nodes - 1}
        raise NeverError(f"part {part.name}: nodes of this site have NUMA nodes 0 to {terms.numa_nodes - 1}", figures)
    for name, count in Counter(asked.devices).items():
        if name not in terms.devices:
            known = ", ".join(sorted(terms.devices)) or "none"
            raise InvalidError(f"part {part.name}: there is no device {name!r} here (there are: {known})")
        if count > terms.devices[name]:
            figures = {"devices.asked": count, "devices.max": terms.devices[name]}
            raise NeverError(f"part {part.name}: a node of this site has {terms.devices[name]} of {name!r}", figures)
