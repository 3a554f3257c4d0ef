"""Postgres: connections, tables, the outbox, and what a refused row means."""
