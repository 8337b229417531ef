"""The subcommands, a module for each kind; imported only when one of theirs is called."""
