"""What a running service needs around its work: settings, health, logs, metrics, traces."""
