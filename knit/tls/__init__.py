"""TLS for servers in Python: the certificates that a node keeps, or Valkey publishes, chosen by the client's name."""

from knit.tls.certificates import Certificates, Record, Status

__all__ = ["Certificates", "Record", "Status"]
