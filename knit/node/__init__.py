"""The watcher that runs on every node: notice, check, write whole pairs, reload."""
