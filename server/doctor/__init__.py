"""``flyinglow doctor``: what is wrong with a site, and what to do about it."""
