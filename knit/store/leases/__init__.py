"""Which processes are there, and what they hold."""
