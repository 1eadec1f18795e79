"""The list of certificates: what is wanted, and rows that other software wrote."""
