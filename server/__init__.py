"""The daemon: composition root, configuration, sockets and the admin socket.

Only here are the parts built and joined, clocks and reactors handed in, and addresses bound. Nobody imports
this folder but the command line.
"""
