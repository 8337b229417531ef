"""Workspace control on one node: virtual machines, images, networks and context.

It runs on the nodes themselves, on Python 3.9 and later with the standard library only, and holds the only
definition of the messages it understands and of the errors it answers.
"""
