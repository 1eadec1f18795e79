"""Providers through lego itself, for every code knit has no solver of its own for.

lego runs in a child process that lives as long as one set of challenges: `program` is that child, `child` starts and
ends it, `solver` is the port, `table` what is known of each code, `provider` makes a Provider of it.
"""
