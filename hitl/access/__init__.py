"""Users, roles and their rights on RabbitMQ and in Postgres."""
