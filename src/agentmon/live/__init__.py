"""The Kafka side: topics, offsets, live rows and figures."""
