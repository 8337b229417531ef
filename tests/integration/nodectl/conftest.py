"""Real agents, real guests, real namespaces."""

from rigs.guarded import guarded
from rigs.guest import guest_image
from rigs.namespaces import new_space

__all__ = ["guarded", "guest_image", "new_space"]
