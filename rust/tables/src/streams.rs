//! Streams: where they start and end, who appends, and where their ranges are.

use std::collections::BTreeMap;

use crate::{Broken, hold};

/// A stream is open at one epoch of one node, or nobody appends to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    Closed = 0,
    Open = 1,
}

/// A range large enough to be in its stream's own list: 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub start: i64,
    pub end: i64,
    pub max_timestamp: i64,
    pub bytes: u32,
    pub slot: u32,
}

/// One stream. `start <= end`; its ranges cover `[start, end)` without gap or overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub topic: [u8; 16],
    pub partition: i32,
    pub kind: u8,
    pub state: StreamState,
    pub start: i64,
    /// The committed end: what is durable only in a WAL lies behind it.
    pub end: i64,
    pub epoch: i32,
    pub node_id: i32,
    pub node_epoch: i64,
    /// Of all ranges that reach above `start`.
    pub bytes: i64,
    /// The leader-epoch history: (epoch, first offset), both ascending strictly.
    pub opens: Vec<(i32, i64)>,
    /// Up to where superseded records were removed, and when its tombstones may go; or -1, -1.
    pub cleaned_to: i64,
    pub delete_horizon_ms: i64,
    pub(crate) large: Vec<Extent>,
    /// Objects that hold a small range of this stream, by offset.
    pub(crate) small: Vec<u32>,
}

/// May the stream be opened at this epoch?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenJudgement {
    /// Yes: nobody has it open. It starts at the committed end.
    Free {
        start: i64,
    },
    /// Yes, if nothing of this owner can still be committed.
    Held {
        start: i64,
        node_id: i32,
        node_epoch: i64,
    },
    /// It is open at this epoch by this node already, from that offset on.
    Already {
        start: i64,
    },
    /// The epoch is not newer than the stream's.
    Stale {
        epoch: i32,
    },
    Unknown,
}

impl Stream {
    pub fn new(topic: [u8; 16], partition: i32, kind: u8) -> Self {
        Self {
            topic,
            partition,
            kind,
            state: StreamState::Closed,
            start: 0,
            end: 0,
            epoch: -1,
            node_id: -1,
            node_epoch: -1,
            bytes: 0,
            opens: Vec::new(),
            cleaned_to: -1,
            delete_horizon_ms: -1,
            large: Vec::new(),
            small: Vec::new(),
        }
    }

    /// Where the first epoch after `epoch` began; `None` if there is none.
    pub fn end_of_epoch(&self, epoch: i32) -> Option<i64> {
        let next = self.opens.partition_point(|(opened, _)| *opened <= epoch);
        self.opens.get(next).map(|(_, start)| *start)
    }

    pub(crate) fn open(&mut self, node_id: i32, node_epoch: i64, epoch: i32, start: i64) {
        // Opens at one offset collapse to the newest (KIP-101 histories have no empty epochs).
        if self.opens.last().is_some_and(|(_, last)| *last == start) {
            self.opens.pop();
        }
        self.opens.push((epoch, start));
        self.opens.shrink_to_fit();
        (self.state, self.epoch) = (StreamState::Open, epoch);
        (self.node_id, self.node_epoch) = (node_id, node_epoch);
    }

    /// Epochs that end at or below the start are dropped; the one that covers it stays.
    pub(crate) fn forget_epochs_below_start(&mut self) {
        let covering = self.opens.partition_point(|(_, first)| *first <= self.start);
        self.opens.drain(..covering.saturating_sub(1));
    }
}

/// Streams by id. Ids ascend and are never used again.
#[derive(Debug, Default)]
pub struct Streams {
    pub(crate) by_id: BTreeMap<i64, Stream>,
}

impl Streams {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The streams for which `wanted` holds, by id.
    pub fn ids(&self, wanted: impl Fn(&Stream) -> bool) -> Vec<i64> {
        self.by_id.iter().filter(|(_, row)| wanted(row)).map(|(id, _)| *id).collect()
    }

    pub fn get(&self, stream: i64) -> Option<&Stream> {
        self.by_id.get(&stream)
    }

    pub(crate) fn get_mut(&mut self, stream: i64) -> Result<&mut Stream, Broken> {
        self.by_id.get_mut(&stream).ok_or_else(|| Broken(format!("stream {stream} is unknown")))
    }

    pub fn judge_open(
        &self,
        stream: i64,
        epoch: i32,
        node_id: i32,
        node_epoch: i64,
    ) -> OpenJudgement {
        let Some(found) = self.get(stream) else {
            return OpenJudgement::Unknown;
        };
        let owner = (found.node_id, found.node_epoch);
        let open = found.state == StreamState::Open;
        if open && epoch == found.epoch && owner == (node_id, node_epoch) {
            let start = found.opens.last().map_or(found.end, |(_, start)| *start);
            return OpenJudgement::Already { start };
        }
        if epoch <= found.epoch {
            return OpenJudgement::Stale { epoch: found.epoch };
        }
        if open {
            let (node_id, node_epoch) = owner;
            return OpenJudgement::Held { start: found.end, node_id, node_epoch };
        }
        OpenJudgement::Free { start: found.end }
    }

    /// Invariant: a stream is opened at its committed end, at an epoch above all before.
    pub fn open(
        &mut self,
        stream: i64,
        epoch: i32,
        start: i64,
        node: (i32, i64),
    ) -> Result<(), Broken> {
        let found = self.get_mut(stream)?;
        hold!(epoch > found.epoch, "stream {stream}: opened at {epoch} after {}", found.epoch);
        hold!(start == found.end, "stream {stream}: opened at {start}, committed {}", found.end);
        found.open(node.0, node.1, epoch, start);
        Ok(())
    }

    pub fn close(&mut self, stream: i64, epoch: i32, end: i64) -> Result<(), Broken> {
        let found = self.get_mut(stream)?;
        hold!(found.state == StreamState::Open, "stream {stream} is closed already");
        hold!(epoch == found.epoch, "stream {stream}: closed at {epoch}, open {}", found.epoch);
        hold!(end == found.end, "stream {stream}: closed at {end}, committed {}", found.end);
        found.state = StreamState::Closed;
        Ok(())
    }
}
