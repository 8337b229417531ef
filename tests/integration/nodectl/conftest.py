"""Real agents, real guests, real namespaces."""

from rigs.guest import guest_image
from rigs.namespaces import new_space

__all__ = ["guest_image", "new_space"]
