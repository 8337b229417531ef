"""The same node with every driver: the simulated one, Xen's with a stand-in, QEMU's with a real guest."""

from rigs.guest import guest_image
from rigs.memory import memory
from rigs.node import subject, xen_host
from rigs.slots import site

__all__ = ["guest_image", "memory", "site", "subject", "xen_host"]
