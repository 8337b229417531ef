"""Where virtual machines come from: the seam to a site's nodes, and what implements it.

``api`` holds the Backend protocol with its value types; ``default`` maps requests greedily onto a fixed list of
nodes; ``simulated`` only pretends; ``testing`` is the conformance suite that third parties run on theirs.
No SOAP, no SQL and no socket of its own is found below this folder.
"""
