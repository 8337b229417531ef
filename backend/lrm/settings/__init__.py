"""The configuration table of the back-end, and what is wrong with it."""
