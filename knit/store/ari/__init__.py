"""What CAs suggest about renewal."""
