"""RabbitMQ: connections, topology, deliveries, publishes, retries, and the worker that ties
them."""
