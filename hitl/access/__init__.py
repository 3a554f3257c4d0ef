"""Who may do what on RabbitMQ and in Postgres."""
