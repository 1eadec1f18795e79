"""The certificate Valkey: published values, their index and change feed, and bundles waiting to be published."""
