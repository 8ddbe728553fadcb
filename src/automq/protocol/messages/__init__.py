"""One module per Kafka message, generated. Import the module you speak; nothing is imported here."""
