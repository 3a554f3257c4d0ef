"""AMQP 0-9-1 frames, read and written without pika's objects."""
