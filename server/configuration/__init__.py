"""The configuration file: its keys, what is wrong with them, and the commented sample."""
