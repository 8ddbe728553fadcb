//! The Kafka wire protocol: frames, and a codec that runs message schemas. No I/O.
