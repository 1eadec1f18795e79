"""A consuming machine: takes published certificates from Valkey and keeps them in files."""
