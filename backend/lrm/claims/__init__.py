"""Claims of the core: what is offered, planned, waited for, held and extended."""
