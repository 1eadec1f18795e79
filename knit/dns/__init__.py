"""Asks the DNS: proves control of names, finds where a challenge lives, waits until it is visible."""
