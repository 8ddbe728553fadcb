"""automq: a Kafka-compatible streaming platform that keeps its data in object storage."""
