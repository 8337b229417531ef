"""Who may do what: identities, decisions and quotas.

Everything here is pure: a decision is computed from the identity, the verb, the owner and figures handed in,
and is Allow or Deny with those figures. Nothing here reads a store, a socket or a clock.
"""
