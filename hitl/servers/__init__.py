"""A stack's private RabbitMQ and PostgreSQL, their processes and ports."""
