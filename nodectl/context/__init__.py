"""What a guest is told, and the ways by which it gets into the guest (section 3.3 of the paper, contextualization).

Whatever the way, a guest finds the same: the context text, the lessee's user data, his files, and his keys.
"""
