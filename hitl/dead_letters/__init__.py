"""Messages that were set aside: found, read, filtered."""
