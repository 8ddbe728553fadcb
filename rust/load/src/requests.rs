//! The requests that are sent, and what their answers say. Versions are those of current clients
//! for what is measured, Produce (9) and Fetch (12), and simple ones for the rest.

use crate::failure::{Failure, Result};
use crate::wire::{Reader, Writer};

const PRODUCE: (i16, i16) = (0, 9);
const FETCH: (i16, i16) = (1, 12);
const LIST_OFFSETS: (i16, i16) = (2, 5);
const METADATA: (i16, i16) = (3, 4);
const CREATE_TOPICS: (i16, i16) = (19, 2);
const DELETE_TOPICS: (i16, i16) = (20, 1);

const ACKS_ALL: i16 = -1;
const TIMEOUT_MS: i32 = 30_000;
const CONSUMER: i32 = -1;
const CLIENT_ID: &str = "automq-load";

pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;

fn request((key, version): (i16, i16)) -> Writer {
    let mut writer = Writer::new();
    writer.i16(key).i16(version).i32(0).string(CLIENT_ID);
    writer
}

/// Produce one batch to each of `partitions`, acks=all.
pub fn produce(topic: &str, partitions: &[i32], batch: &[u8]) -> Vec<u8> {
    let mut writer = request(PRODUCE);
    writer.no_tags().uvarint(0).i16(ACKS_ALL).i32(TIMEOUT_MS).compact_length(1);
    writer.compact_string(topic).compact_length(partitions.len());
    for &partition in partitions {
        writer.i32(partition).compact_bytes(batch).no_tags();
    }
    writer.no_tags().no_tags();
    writer.finish()
}

/// Calls `each(partition, error_code)`.
pub fn produced(answer: &[u8], mut each: impl FnMut(i32, i16)) -> Result<()> {
    let mut reader = Reader::new(answer);
    reader.skip_tags()?;
    for _ in 0..reader.compact_length()? {
        reader.compact_bytes()?;
        for _ in 0..reader.compact_length()? {
            let (partition, error_code) = (reader.i32()?, reader.i16()?);
            reader.take(3 * 8)?; // base offset, append time, log start offset
            for _ in 0..reader.compact_length()? {
                reader.i32()?;
                reader.compact_bytes()?;
                reader.skip_tags()?;
            }
            reader.compact_bytes()?;
            reader.skip_tags()?;
            each(partition, error_code);
        }
        reader.skip_tags()?;
    }
    Ok(())
}

/// The answer to one batch. Fails if it was refused, or if it is about another number of batches.
pub fn produced_one(answer: &[u8]) -> Result<()> {
    let (mut count, mut refused) = (0, 0);
    produced(answer, |_, error_code| {
        count += 1;
        refused = error_code;
    })?;
    match (count, refused) {
        (1, 0) => Ok(()),
        (1, error_code) => Err(Failure::refused("Produce", error_code)),
        _ => Err(Failure::new(format!("Produce of one batch was answered for {count}"))),
    }
}

pub struct FetchSize {
    pub wait_ms: i32,
    pub bytes_max: i32,
    pub partition_bytes_max: i32,
}

/// Fetch, without a session, as librdkafka does.
pub fn fetch(topic: &str, offsets: &[(i32, i64)], size: &FetchSize) -> Vec<u8> {
    let mut writer = request(FETCH);
    writer.no_tags().i32(CONSUMER).i32(size.wait_ms).i32(1).i32(size.bytes_max).i8(0);
    writer.i32(0).i32(-1).compact_length(1).compact_string(topic).compact_length(offsets.len());
    for &(partition, offset) in offsets {
        writer.i32(partition).i32(-1).i64(offset).i32(-1).i64(-1).i32(size.partition_bytes_max);
        writer.no_tags();
    }
    writer.no_tags().compact_length(0).compact_string("").no_tags();
    writer.finish()
}

/// Calls `each(partition, high_watermark, records)`. Fails at the first error code.
pub fn fetched(answer: &[u8], mut each: impl FnMut(i32, i64, &[u8]) -> Result<()>) -> Result<()> {
    let mut reader = Reader::new(answer);
    reader.skip_tags()?;
    reader.i32()?;
    check("Fetch", reader.i16()?)?;
    reader.i32()?;
    for _ in 0..reader.compact_length()? {
        reader.compact_bytes()?;
        for _ in 0..reader.compact_length()? {
            let partition = reader.i32()?;
            check("Fetch", reader.i16()?)?;
            let high_watermark = reader.i64()?;
            reader.take(2 * 8)?; // last stable offset, log start offset
            for _ in 0..reader.compact_length()? {
                reader.take(2 * 8)?;
                reader.skip_tags()?;
            }
            reader.i32()?;
            let records = reader.compact_bytes()?;
            reader.skip_tags()?;
            each(partition, high_watermark, records)?;
        }
        reader.skip_tags()?;
    }
    Ok(())
}

pub fn create_topic(topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = request(CREATE_TOPICS);
    writer.i32(1).string(topic).i32(partitions).i16(1).i32(0).i32(configs.len() as i32);
    for (name, value) in configs {
        writer.string(name).string(value);
    }
    writer.i32(TIMEOUT_MS).i8(0);
    writer.finish()
}

/// The error code of the topic.
pub fn created_topic(answer: &[u8]) -> Result<i16> {
    let mut reader = Reader::new(answer);
    reader.i32()?;
    if reader.length()? != 1 {
        return Err(Failure::new("asked about one topic, and told about others"));
    }
    reader.string()?;
    reader.i16()
}

pub fn delete_topic(topic: &str) -> Vec<u8> {
    let mut writer = request(DELETE_TOPICS);
    writer.i32(1).string(topic).i32(TIMEOUT_MS);
    writer.finish()
}

pub fn deleted_topic(answer: &[u8]) -> Result<i16> {
    created_topic(answer)
}

pub fn metadata(topic: &str) -> Vec<u8> {
    let mut writer = request(METADATA);
    writer.i32(1).string(topic).i8(0);
    writer.finish()
}

/// How many partitions of the topic have a leader.
pub fn partitions_led(answer: &[u8]) -> Result<usize> {
    let mut reader = Reader::new(answer);
    reader.i32()?;
    for _ in 0..reader.length()? {
        reader.i32()?;
        reader.string()?;
        reader.i32()?;
        reader.string()?;
    }
    reader.string()?;
    reader.i32()?;
    if reader.length()? != 1 || reader.i16()? != 0 {
        return Ok(0);
    }
    reader.string()?;
    reader.i8()?;
    let mut led = 0;
    for _ in 0..reader.length()? {
        let (error_code, _, leader) = (reader.i16()?, reader.i32()?, reader.i32()?);
        led += usize::from(error_code == 0 && leader >= 0);
        for _ in 0..2 {
            let replicas = reader.length()?;
            reader.take(4 * replicas)?;
        }
    }
    Ok(led)
}

pub fn list_offsets(topic: &str, partitions: i32, timestamp: i64) -> Vec<u8> {
    let mut writer = request(LIST_OFFSETS);
    writer.i32(CONSUMER).i8(0).i32(1).string(topic).i32(partitions);
    for partition in 0..partitions {
        writer.i32(partition).i32(-1).i64(timestamp);
    }
    writer.finish()
}

/// The offset of every partition, by its number.
pub fn offsets_listed(answer: &[u8]) -> Result<Vec<i64>> {
    let mut reader = Reader::new(answer);
    reader.i32()?;
    let mut offsets = Vec::new();
    for _ in 0..reader.length()? {
        reader.string()?;
        for _ in 0..reader.length()? {
            let partition = reader.i32()?;
            check("ListOffsets", reader.i16()?)?;
            reader.i64()?;
            offsets.push((partition, reader.i64()?));
            reader.i32()?; // leader epoch
        }
    }
    offsets.sort_unstable();
    Ok(offsets.into_iter().map(|(_, offset)| offset).collect())
}

fn check(what: &str, error_code: i16) -> Result<()> {
    if error_code == 0 { Ok(()) } else { Err(Failure::refused(what, error_code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_batch_is_its_error_code() {
        let answered = |error_code: i16| {
            let mut writer = Writer::new();
            writer.no_tags().compact_length(1).compact_string("t").compact_length(1);
            writer.i32(3).i16(error_code).i64(9).i64(-1).i64(0).compact_length(0);
            writer.uvarint(0).no_tags().no_tags().i32(0).no_tags();
            writer.finish()[4..].to_vec()
        };
        assert!(produced_one(&answered(0)).is_ok());
        assert!(produced_one(&answered(6)).unwrap_err().to_string().contains("error code 6"));
    }

    #[test]
    fn partitions_without_a_leader_are_not_counted() {
        let mut writer = Writer::new();
        writer.i32(0).i32(1).i32(1).string("host").i32(9092).i16(-1).i16(-1).i32(1);
        writer.i32(1).i16(0).string("t").i8(0).i32(2);
        writer.i16(0).i32(0).i32(1).i32(1).i32(1).i32(1).i32(1);
        writer.i16(5).i32(1).i32(-1).i32(1).i32(1).i32(0);
        assert_eq!(partitions_led(&writer.finish()[4..]).unwrap(), 1);
    }

    #[test]
    fn a_fetched_error_code_ends_the_run() {
        let answered = |error_code: i16| {
            let mut writer = Writer::new();
            writer.no_tags().i32(0).i16(0).i32(0).compact_length(1).compact_string("t");
            writer.compact_length(1).i32(3).i16(error_code).i64(8).i64(8).i64(0).uvarint(0);
            writer.i32(-1).compact_bytes(b"batches").no_tags().no_tags().no_tags();
            writer.finish()[4..].to_vec()
        };
        let mut seen = Vec::new();
        fetched(&answered(0), |partition, high_watermark, records| {
            seen.push((partition, high_watermark, records.to_vec()));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(3, 8, b"batches".to_vec())]);
        assert!(fetched(&answered(1), |_, _, _| Ok(())).is_err());
    }
}
