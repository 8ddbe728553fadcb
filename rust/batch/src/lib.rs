//! Kafka record batches (magic 2): checking, offset assignment, codecs, digests. No I/O.
