"""Dead-lettered messages: found, read, filtered."""
