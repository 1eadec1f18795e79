"""What nodes have reported."""
