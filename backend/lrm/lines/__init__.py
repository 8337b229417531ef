"""The node channel that rides on the polls of a pilot."""
