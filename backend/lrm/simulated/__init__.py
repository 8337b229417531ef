"""A batch scheduler that exists in memory."""
