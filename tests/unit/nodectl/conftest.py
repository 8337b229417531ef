"""Slots of a pretended node."""

from rigs.slots import site

__all__ = ["site"]
