"""WS-Security 1.1 with X.509 certificates: messages that carry the proof of who sent them."""
