"""The agent on a node: orders in, answers and news out, for one slot or for all of the node."""
