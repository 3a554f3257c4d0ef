"""The event log's hash chain, checked and repaired."""
