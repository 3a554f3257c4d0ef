"""What leaves Postgres for RabbitMQ, and what is removed after it left."""
