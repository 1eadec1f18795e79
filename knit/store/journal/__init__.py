"""The journal of attempts."""
