"""What is on offer, and the creation of leases.

The create use case checks a request against the offers and admits it, all or nothing; one part with count one
makes a workspace, a count above one a group, several parts an ensemble.
"""
