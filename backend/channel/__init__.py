"""Ways to a node: an agent process that is kept, spoken to in JSON lines, started here or by OpenSSH over there."""
