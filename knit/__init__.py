"""knit issues TLS certificates in one place and gets them served on every node."""

__version__ = "0.1.0"
