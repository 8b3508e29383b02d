"""agentmon: what AI agents do, think and learn, live from Kafka and for years in Delta tables."""

__version__ = "0.1.0"
