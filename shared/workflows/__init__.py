"""Workflow files: read, checked, and followed while a service runs."""
