"""Build the small Linux guest that demonstrations, probes and tests boot.

It is made of two Debian packages, without root, without mounting anything and without a boot loader: a kernel, an
initramfs that only finds the root disk, and a root disk on which the guest introduces itself on its console.
"""

from flyinglow.nodectl.guest.build import NAME, build

__all__ = ["NAME", "build"]
