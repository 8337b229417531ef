"""Workspaces that are alike.

A group has no state of its own: it folds the states of its members, and fans life-cycle verbs out to them with
one result per member.
"""
