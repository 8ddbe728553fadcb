//! Which record goes into which segment, and what that costs of the budget. Pure.

use std::collections::VecDeque;

use crate::error::Refused;
use crate::record::HEADER_BYTES;
use crate::segment::SEGMENT_HEADER_BYTES;

/// Kept free at the end of every segment for the marker of a clean close.
const MARKER_BYTES: u64 = HEADER_BYTES as u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    first_position: u64,
    file_bytes: u64,
}

/// The segments of a WAL as they will be once everything appended is written.
#[derive(Debug)]
pub struct Layout {
    segment_bytes: u64,
    capacity_bytes: u64,
    live: VecDeque<Segment>,
    live_bytes: u64,
    end: u64,
    trimmed: u64,
}

impl Layout {
    pub fn new(segment_bytes: u64, capacity_bytes: u64) -> Self {
        let live = VecDeque::new();
        Self { segment_bytes, capacity_bytes, live, live_bytes: 0, end: 0, trimmed: 0 }
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Takes a record in. `Some(size)`: it is the first of a new segment file of that size.
    pub fn place(&mut self, record_bytes: u64) -> Result<Option<u64>, Refused> {
        if self.room() >= record_bytes {
            self.end += record_bytes;
            return Ok(None);
        }
        let needed = (SEGMENT_HEADER_BYTES + record_bytes + MARKER_BYTES).next_multiple_of(4096);
        let file_bytes = needed.max(self.segment_bytes);
        // A segment that is trimmed to its end goes as soon as it is not the last one any more.
        let kept_bytes = if self.trimmed >= self.end { 0 } else { self.live_bytes };
        if file_bytes > self.capacity_bytes {
            let (segment_bytes, capacity_bytes) = (file_bytes, self.capacity_bytes);
            return Err(Refused::TooLarge { segment_bytes, capacity_bytes });
        }
        if kept_bytes + file_bytes > self.capacity_bytes {
            let (used_bytes, capacity_bytes) = (kept_bytes, self.capacity_bytes);
            return Err(Refused::SpaceFull { used_bytes, capacity_bytes });
        }
        self.live.push_back(Segment { first_position: self.end, file_bytes });
        self.live_bytes += file_bytes;
        self.end += record_bytes;
        self.trim(self.trimmed);
        Ok(Some(file_bytes))
    }

    /// Nothing below `position` is needed any more: whole segments below it leave the budget.
    pub fn trim(&mut self, position: u64) {
        self.trimmed = self.trimmed.max(position);
        while self.live.get(1).is_some_and(|next| next.first_position <= self.trimmed) {
            if let Some(gone) = self.live.pop_front() {
                self.live_bytes -= gone.file_bytes;
            }
        }
    }

    fn room(&self) -> u64 {
        self.live.back().map_or(0, |last| {
            let usable = last.file_bytes - SEGMENT_HEADER_BYTES - MARKER_BYTES;
            usable - (self.end - last.first_position)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 65_536;
    const USABLE: u64 = SEGMENT - SEGMENT_HEADER_BYTES - MARKER_BYTES;

    #[test]
    fn a_segment_is_filled_and_the_next_record_begins_another() {
        let mut layout = Layout::new(SEGMENT, 10 * SEGMENT);
        assert_eq!(layout.place(USABLE - 64), Ok(Some(SEGMENT)));
        assert_eq!(layout.place(64), Ok(None));
        assert_eq!(layout.place(64), Ok(Some(SEGMENT)));
        assert_eq!(layout.end(), USABLE + 64);
    }

    #[test]
    fn a_large_record_gets_a_segment_grown_to_hold_it() {
        let mut layout = Layout::new(SEGMENT, 10 * SEGMENT);
        let grown = (3 * SEGMENT + SEGMENT_HEADER_BYTES + MARKER_BYTES).next_multiple_of(4096);
        assert_eq!(layout.place(3 * SEGMENT), Ok(Some(grown)));
        assert_eq!(layout.live_bytes(), grown);
    }

    #[test]
    fn over_the_budget_a_record_is_refused_until_a_trim() {
        let mut layout = Layout::new(SEGMENT, 2 * SEGMENT);
        assert_eq!(layout.place(USABLE), Ok(Some(SEGMENT)));
        assert_eq!(layout.place(USABLE), Ok(Some(SEGMENT)));
        assert!(matches!(layout.place(64), Err(Refused::SpaceFull { .. })));
        layout.trim(USABLE - 8);
        assert!(matches!(layout.place(64), Err(Refused::SpaceFull { .. })));
        layout.trim(USABLE);
        assert_eq!(layout.place(64), Ok(Some(SEGMENT)));
    }

    #[test]
    fn the_last_segment_makes_room_when_it_is_trimmed_to_its_end() {
        let mut layout = Layout::new(SEGMENT, 2 * SEGMENT);
        assert_eq!(layout.place(64), Ok(Some(SEGMENT)));
        layout.trim(64);
        assert!(matches!(layout.place(SEGMENT + 4096), Ok(Some(_))));
        assert!(layout.live_bytes() <= 2 * SEGMENT);
    }

    #[test]
    fn what_can_never_fit_is_told_apart_from_what_must_wait() {
        let mut layout = Layout::new(SEGMENT, 2 * SEGMENT);
        assert!(matches!(layout.place(2 * SEGMENT), Err(Refused::TooLarge { .. })));
    }
}
