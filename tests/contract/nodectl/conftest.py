"""The same node twice: once with the simulated driver, once with QEMU and a real guest."""

from rigs.guest import guest_image
from rigs.node import subject

__all__ = ["guest_image", "subject"]
