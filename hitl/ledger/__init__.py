"""The event log's hash chain: verified, exported, redacted."""
