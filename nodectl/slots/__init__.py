"""Slots of a node: what is taken of its memory, by whom, and what their holders may see."""
