"""headrace: an event-driven ML platform on Kafka. The log is the platform."""

__version__ = "0.1.0"
