"""Sets of different workspaces that start together.

An ensemble has no state of its own: it folds the states of its members. All or nothing is promised for the
whole launch set; an open ensemble may be joined until it is done.
"""
