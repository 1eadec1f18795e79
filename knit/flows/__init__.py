"""What knit does: one file per use case, ports in, value out; load, decide, guard, apply, record."""
