"""RabbitMQ and PostgreSQL of a stack's own, and the processes and ports they take."""
