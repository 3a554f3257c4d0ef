"""Webhooks: which there are, what is sent to them, and how it is signed."""
