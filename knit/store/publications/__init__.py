"""What is published, and the certificate Valkey that belongs to this database."""
