"""TLS for the listeners: certificates and keys, refusals in words, and closing so that the last word is heard."""
