"""The listener for guests: their reports in, the values of their launch set out."""
