"""The embedded Kafka broker and the local background processes."""
