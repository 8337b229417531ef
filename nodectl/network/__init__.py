"""Networks of a node: taps on bridges, rules against forged addresses, DHCP."""
