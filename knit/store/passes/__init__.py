"""What a pass needs, and when the next one is due."""
