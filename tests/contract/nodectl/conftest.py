"""The same node twice: once with the simulated driver, once with QEMU and a real guest."""

from rigs.guest import guest_image
from rigs.memory import memory
from rigs.node import subject
from rigs.slots import site

__all__ = ["guest_image", "memory", "site", "subject"]
