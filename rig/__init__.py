"""Real servers for tests, the demo and the benches: found, started on free loopback ports, and never left behind."""
