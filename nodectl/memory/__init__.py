"""Take memory from what else runs on a node, and give it back: the ``NodeMemory`` Protocol and its drivers."""
