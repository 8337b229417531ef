"""The admin socket: what ``flyinglow admin`` can ask of a running daemon."""
