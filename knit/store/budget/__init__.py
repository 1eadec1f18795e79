"""Token buckets of the limits of CAs."""
