"""The review service: where people decide."""
