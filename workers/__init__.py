"""The worker process: Dramatiq actors as thin shims over knit's flows."""
