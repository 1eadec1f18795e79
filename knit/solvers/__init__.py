"""DNS-01: one file per DNS provider, and the parts they share."""
