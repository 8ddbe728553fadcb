//! The bytes of an object while it is written: large pieces by reference, small ones gathered.

use bytes::{BufMut, Bytes, BytesMut};

/// Pieces below this size are copied: the body of a request should not be all tiny pieces.
const COPIED_BELOW_BYTES: usize = 4 * 1024;
const GATHERED_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
pub struct Body {
    parts: Vec<Bytes>,
    gathered: BytesMut,
    size_bytes: u64,
}

impl Body {
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub fn copy(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        if self.gathered.capacity() - self.gathered.len() < bytes.len() {
            self.close_gathered();
            self.gathered.reserve(bytes.len().max(GATHERED_BYTES));
        }
        self.gathered.put_slice(bytes);
    }

    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() < COPIED_BELOW_BYTES {
            return self.copy(&bytes);
        }
        self.close_gathered();
        self.size_bytes += bytes.len() as u64;
        self.parts.push(bytes);
    }

    pub fn finish(mut self) -> Vec<Bytes> {
        self.close_gathered();
        self.parts
    }

    fn close_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.parts.push(self.gathered.split().freeze());
        }
    }
}
