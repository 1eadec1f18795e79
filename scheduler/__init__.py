"""The scheduler process: one `reconcile` message per interval, and nothing else."""
