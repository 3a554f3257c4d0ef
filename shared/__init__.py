"""What every service shares: facts, messages, topology, broker, worker, database."""
