"""The adapter for Grid Engine."""
