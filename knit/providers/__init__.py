"""DNS providers: one file each, and the parts they share."""
