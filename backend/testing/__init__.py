"""The conformance suite for back-ends, shipped for those who write their own; needs pytest."""
