"""automq: a Kafka-compatible streaming platform that keeps its data in object storage."""

__version__ = "0.1.0"
