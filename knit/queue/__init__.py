"""The queue: how each kind of server is spoken to, and what is taken from it."""
