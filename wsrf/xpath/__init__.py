"""XPath 1.0 over documents of ours, with expressions that come from outside: bounded in time, memory and answer."""
