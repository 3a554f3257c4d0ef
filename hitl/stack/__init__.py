"""A complete stack on this machine: start, supervision, status, stop."""
