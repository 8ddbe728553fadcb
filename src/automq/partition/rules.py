"""What a topic's configs ask of a produced batch, and how a refusal is told."""

from automq._native import BatchRefused, ProduceRules
from automq.config.effective import TopicConfig
from automq.protocol import errors


def refusal(refused: BatchRefused) -> errors.KafkaError:
    """Kafka's error for what the native check refused, with the records at fault (KIP-467)."""
    error = errors.by_name(refused.error)(refused.message)
    error.record_errors = refused.record_errors
    return error


def produce_rules(config: TopicConfig) -> ProduceRules:
    """The native rules of a topic; made once per change of its configs."""
    levels = {
        "gzip": config.compression_gzip_level,
        "lz4": config.compression_lz4_level,
        "zstd": config.compression_zstd_level,
    }
    codec = config.compression_type
    return ProduceRules(
        batch_bytes_max=config.max_message_bytes,
        segment_bytes=config.segment_bytes,
        compacted=config.is_compacted,
        timestamp_before_max_ms=config.message_timestamp_before_max_ms,
        timestamp_after_max_ms=config.message_timestamp_after_max_ms,
        log_append_time=config.is_log_append_time,
        codec=None if codec == "producer" else "none" if codec == "uncompressed" else codec,
        level=levels.get(codec),
    )
