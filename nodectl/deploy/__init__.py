"""How this program comes to a node: one file, and the lines that let it become root."""
