"""The facts that travel, and how each becomes an AMQP message and is read back."""
