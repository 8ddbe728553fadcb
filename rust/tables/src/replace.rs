//! Replacing ranges by others that hold the same offsets: merging objects, log compaction.

use std::collections::BTreeMap;

use crate::columns::Columns;
use crate::objects::Object;
use crate::ranges::Range;
use crate::storage::{LARGE_BYTES, Storage};
use crate::{Broken, hold};

/// What becomes of one stream's part of a replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaceVerdict {
    Taken = 0,
    /// The stream was removed.
    Gone = 1,
    /// Not all that it removes is still there: somebody was faster. Its output is garbage.
    Refused = 2,
}

/// Ranges to take out (stream, object, start, end) and to put in (the same, bytes, max timestamp),
/// both by stream and offset.
#[derive(Debug, Clone, Copy)]
pub struct Replacement<'a> {
    pub removed: &'a Columns,
    pub added: &'a Columns,
}

type Named = (i64, Range);

impl Storage {
    /// A verdict for each stream. Whatever the epoch: it names exactly what it removes.
    pub fn judge_replace(
        &self,
        replacement: &Replacement,
    ) -> Result<Vec<(i64, ReplaceVerdict)>, String> {
        let removed = by_stream(replacement.removed).map_err(|broken| broken.0)?;
        let mut added = by_stream(replacement.added).map_err(|broken| broken.0)?;
        let mut verdicts = Vec::with_capacity(removed.len());
        for (stream, old) in &removed {
            let new = added.remove(stream).unwrap_or_default();
            contiguous(*stream, old)?;
            contiguous(*stream, &new)?;
            one_run_per_object(*stream, &new)?;
            verdicts.push((*stream, self.judge_stream(*stream, old, &new)?));
        }
        if let Some(stream) = added.keys().next() {
            return Err(format!("stream {stream}: ranges are added for which none are removed"));
        }
        Ok(verdicts)
    }

    fn judge_stream(
        &self,
        stream: i64,
        old: &[Named],
        new: &[Named],
    ) -> Result<ReplaceVerdict, String> {
        let Some(found) = self.streams.get(stream) else {
            return Ok(ReplaceVerdict::Gone);
        };
        let there = old.iter().all(|(object, range)| self.holds(*object, range));
        if !there {
            return Ok(ReplaceVerdict::Refused);
        }
        let (Some(first_old), Some(last_old)) = (old.first(), old.last()) else {
            return Ok(ReplaceVerdict::Refused);
        };
        let (Some(first_new), Some(last_new)) = (new.first(), new.last()) else {
            return Err(format!("stream {stream}: ranges are removed for which none are added"));
        };
        // A trim inside the first range may have clipped what the new one had to hold.
        let starts = first_old.1.start..=first_old.1.start.max(found.start);
        if new.iter().any(|(_, range)| range.start >= range.end || range.bytes < 0) {
            return Err(format!("stream {stream}: an added range holds nothing"));
        }
        if !starts.contains(&first_new.1.start) {
            return Err(format!(
                "stream {stream}: starts at {}, not {starts:?}",
                first_new.1.start
            ));
        }
        if last_new.1.end != last_old.1.end {
            return Err(format!(
                "stream {stream}: ends at {}, not {}",
                last_new.1.end, last_old.1.end
            ));
        }
        Ok(ReplaceVerdict::Taken)
    }

    /// Whether the stream reads exactly this range from this object.
    fn holds(&self, object: i64, range: &Range) -> bool {
        let Some(slot) = self.objects.slot(object) else { return false };
        let same = |start: i64, end: i64| (start, end) == (range.start, range.end);
        if let Some((row, found)) = self.objects.at(slot).ranges.find(range.stream) {
            return same(found.start, found.end) && !self.objects.at(slot).ranges.is_dead(row);
        }
        let extents = self.streams.get(range.stream).map_or(&[][..], |stream| &stream.large[..]);
        extents.iter().any(|extent| extent.slot == slot && same(extent.start, extent.end))
    }

    /// Applies what was judged good. `objects` hold what is added.
    pub fn replace(&mut self, replacement: &Replacement, objects: &[Object]) -> Result<(), Broken> {
        for named in by_stream(replacement.removed)?.values() {
            for (object, range) in named {
                hold!(self.holds(*object, range), "object {object} does not hold {range:?}");
                self.detach(*object, range)?;
            }
        }
        let mut rows: BTreeMap<i64, Vec<Range>> = BTreeMap::new();
        for named in by_stream(replacement.added)?.values() {
            for (object, range) in named {
                rows.entry(*object).or_default().push(*range);
            }
        }
        for object in objects {
            self.fill(object, &rows.remove(&object.id).unwrap_or_default())?;
        }
        hold!(rows.is_empty(), "ranges are added to objects that are not: {:?}", rows.keys());
        Ok(())
    }

    fn detach(&mut self, object: i64, range: &Range) -> Result<(), Broken> {
        let Some(slot) = self.objects.slot(object) else {
            return Err(Broken(format!("object {object} is unknown")));
        };
        let stream = self.streams.get_mut(range.stream)?;
        let large = stream.large.iter().position(|e| e.slot == slot && e.start == range.start);
        if let Some(at) = large {
            let bytes = i64::from(stream.large.remove(at).bytes);
            stream.bytes -= bytes;
            self.objects.lose(slot, bytes);
            return Ok(());
        }
        stream.small.retain(|held| *held != slot);
        stream.bytes -= self.objects.end_small(slot, range.stream)?.bytes;
        Ok(())
    }
}

fn by_stream(columns: &Columns) -> Result<BTreeMap<i64, Vec<Named>>, Broken> {
    let values = columns.values();
    hold!(matches!(values.len(), 4 | 6), "{} columns where 4 or 6 belong", values.len());
    let mut rows: BTreeMap<i64, Vec<Named>> = BTreeMap::new();
    for row in 0..columns.rows() {
        let beyond = |column: usize| values.get(column).map_or(0, |column| column[row]);
        let range = Range {
            stream: values[0][row],
            start: values[2][row],
            end: values[3][row],
            bytes: beyond(4),
            max_timestamp: beyond(5),
        };
        rows.entry(range.stream).or_default().push((values[1][row], range));
    }
    Ok(rows)
}

fn contiguous(stream: i64, named: &[Named]) -> Result<(), String> {
    match named.windows(2).find(|pair| pair[0].1.end != pair[1].1.start) {
        Some(pair) => Err(format!(
            "stream {stream}: {} does not continue at {}",
            pair[1].1.start, pair[0].1.end
        )),
        None => Ok(()),
    }
}

fn one_run_per_object(stream: i64, named: &[Named]) -> Result<(), String> {
    let small = |range: &Range| range.bytes < LARGE_BYTES;
    let twice = named.iter().enumerate().any(|(at, (object, range))| {
        named[..at].iter().any(|(other, before)| object == other && (small(range) || small(before)))
    });
    if twice {
        return Err(format!("stream {stream}: an object holds one run of a stream"));
    }
    Ok(())
}
