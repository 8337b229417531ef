"""Pull points: messages wait here until their owner fetches them, for consumers that nobody can send to."""
