"""The ``flyinglow`` command.

Each subcommand imports its side (client library, daemon, node tools) only when it is called, so that a user of
the client needs nothing of the server and a word of help costs no start-up time.
"""
