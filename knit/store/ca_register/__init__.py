"""What CAs of our own have issued."""
