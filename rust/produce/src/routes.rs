//! From what a request names to the lane that it means.

use std::collections::HashMap;
use std::sync::Arc;

use crate::lane::Lane;

type Lanes = HashMap<i32, Arc<Lane>>;

/// The partitions that are led here, by topic and index; a topic's key is its name or its id.
#[derive(Debug, Default)]
pub struct Routes {
    by_name: HashMap<Box<[u8]>, Lanes>,
    by_id: HashMap<Box<[u8]>, Lanes>,
}

impl Routes {
    /// From now on the partition is this lane; one that was there before is forgotten.
    pub fn add(&mut self, name: &[u8], id: &[u8], index: i32, lane: &Arc<Lane>) {
        for (table, key) in [(&mut self.by_name, name), (&mut self.by_id, id)] {
            table.entry(key.into()).or_default().insert(index, Arc::clone(lane));
        }
    }

    /// The partition is not this lane any more; nothing happens where another took its place.
    pub fn remove(&mut self, name: &[u8], id: &[u8], index: i32, lane: &Arc<Lane>) {
        for (table, key) in [(&mut self.by_name, name), (&mut self.by_id, id)] {
            let Some(lanes) = table.get_mut(key) else { continue };
            if lanes.get(&index).is_some_and(|known| Arc::ptr_eq(known, lane)) {
                lanes.remove(&index);
            }
            if lanes.is_empty() {
                table.remove(key);
            }
        }
    }

    pub fn find(&self, by_id: bool, key: &[u8], index: i32) -> Option<&Arc<Lane>> {
        let table = if by_id { &self.by_id } else { &self.by_name };
        table.get(key)?.get(&index)
    }
}
