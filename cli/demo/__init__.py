"""``flyinglow demo``: a whole site on one machine, and the cluster of the paper's section 2.3 leased from it."""
