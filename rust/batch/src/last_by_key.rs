//! The last record of each key: what a coordinator needs of its log when it loads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;

use crate::header::{BatchHeader, Corrupt, batches};
use crate::marker::{EndMarker, MarkerKind};
use crate::read::{ReadError, Record, each_raw, record_of, unpack_records};

/// Gathers over batches in the order of their offsets; what it keeps is copied, so that nothing
/// pins the batches.
///
/// Records of a transaction wait for its marker: aborted ones are dropped, committed ones count
/// with their own offset (as Kafka's coordinator does), open ones stay in `pending`. Tombstones are
/// kept: they say that an older snapshot is wrong. Records without a key are skipped.
#[derive(Debug, Default)]
pub struct LastByKey {
    last: HashMap<Bytes, Record>,
    pending: HashMap<i64, Vec<Record>>,
}

impl LastByKey {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds concatenated batches. `bytes_max` bounds what one of them may become uncompressed.
    pub fn add(&mut self, data: &Bytes, bytes_max: usize) -> Result<(), ReadError> {
        let mut walk = batches(data);
        loop {
            let start = walk.position();
            let Some(item) = walk.next() else {
                return Ok(());
            };
            let (header, batch) = item?;
            self.add_batch(&header, &batch, bytes_max).map_err(|error| match error {
                ReadError::Corrupt(corrupt) => ReadError::Corrupt(corrupt.shifted(start)),
                too_large => too_large,
            })?;
        }
    }

    fn add_batch(
        &mut self,
        header: &BatchHeader,
        batch: &Bytes,
        bytes_max: usize,
    ) -> Result<(), ReadError> {
        if header.is_control() {
            return Ok(self.end_transaction(header, batch)?);
        }
        let records = unpack_records(header, batch, bytes_max)?;
        each_raw(header, &records, |raw| {
            if raw.key.is_some() {
                let record = owned(record_of(header, &records, raw)?);
                if header.is_transactional() {
                    self.pending.entry(header.producer_id).or_default().push(record);
                } else {
                    self.keep(record);
                }
            }
            Ok(true)
        })?;
        Ok(())
    }

    fn end_transaction(&mut self, header: &BatchHeader, batch: &Bytes) -> Result<(), Corrupt> {
        let Some(marker) = EndMarker::parse(header, batch)? else {
            return Ok(());
        };
        let records = self.pending.remove(&header.producer_id).unwrap_or_default();
        if marker.kind == MarkerKind::Commit {
            records.into_iter().for_each(|record| self.keep(record));
        }
        Ok(())
    }

    fn keep(&mut self, record: Record) {
        let Some(key) = record.key.clone() else {
            return;
        };
        match self.last.entry(key) {
            Entry::Vacant(place) => {
                place.insert(record);
            }
            Entry::Occupied(mut place) if place.get().offset <= record.offset => {
                place.insert(record);
            }
            Entry::Occupied(_) => {}
        }
    }

    pub fn len(&self) -> usize {
        self.last.len()
    }

    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// The last record of each key, and those of open transactions; both by offset.
    pub fn finish(self) -> (Vec<Record>, Vec<Record>) {
        let mut last: Vec<Record> = self.last.into_values().collect();
        let mut pending: Vec<Record> = self.pending.into_values().flatten().collect();
        last.sort_unstable_by_key(|record| record.offset);
        pending.sort_unstable_by_key(|record| record.offset);
        (last, pending)
    }
}

fn owned(mut record: Record) -> Record {
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    record.key = record.key.as_ref().map(copy);
    record.value = record.value.as_ref().map(copy);
    for (name, content) in &mut record.headers {
        *name = copy(name);
        *content = content.as_ref().map(copy);
    }
    record
}
