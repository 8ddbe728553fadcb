"""Apache Kafka's own tools and client, from Maven artifacts, for tests of compatibility."""

KAFKA_VERSION = "4.3.1"
