"""The program that the batch scheduler runs on each node, and the only definition of its messages.

It runs on Python 3.9 and later with the standard library only, because it travels to nodes as one file.
"""
