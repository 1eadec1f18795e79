"""The only reader of the environment. Standard library only: every node and every `knit --help` pays for imports."""
