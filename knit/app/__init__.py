"""Opens adapters for the processes that use them."""
