//! The primitive types of Kafka's protocol, written and read.

use crate::failure::{Failure, Result};

/// A request in the making. The four bytes of its length come first, and are set by `finish`.
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn new() -> Self {
        Self(vec![0; 4])
    }

    pub fn i8(&mut self, value: i8) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub fn i16(&mut self, value: i16) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub fn uvarint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn string(&mut self, text: &str) -> &mut Self {
        self.i16(text.len() as i16).raw(text.as_bytes())
    }

    pub fn compact_string(&mut self, text: &str) -> &mut Self {
        self.compact_bytes(text.as_bytes())
    }

    pub fn compact_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.compact_length(bytes.len()).raw(bytes)
    }

    pub fn compact_length(&mut self, length: usize) -> &mut Self {
        self.uvarint(length as u64 + 1)
    }

    pub fn no_tags(&mut self) -> &mut Self {
        self.uvarint(0)
    }

    pub fn finish(mut self) -> Vec<u8> {
        let length = (self.0.len() - 4) as i32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

/// What is left of an answer.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        if length > self.0.len() {
            return Err(Failure::new("an answer ends too early"));
        }
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    pub fn i8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub fn uvarint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.array::<1>()?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Failure::new("an answer holds a varint without end"))
    }

    /// The length of a string or an array; a null one counts as empty.
    pub fn length(&mut self) -> Result<usize> {
        Ok(self.i32()?.max(0) as usize)
    }

    pub fn string(&mut self) -> Result<&'a [u8]> {
        let length = self.i16()?.max(0) as usize;
        self.take(length)
    }

    pub fn compact_length(&mut self) -> Result<usize> {
        Ok(self.uvarint()?.saturating_sub(1) as usize)
    }

    pub fn compact_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.compact_length()?;
        self.take(length)
    }

    pub fn skip_tags(&mut self) -> Result<()> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let length = self.uvarint()? as usize;
            self.take(length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut writer = Writer::new();
        writer.i8(-1).i16(-2).i32(-3).i64(-4).uvarint(300).string("ab").compact_string("cd");
        writer.no_tags();
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.i32().unwrap() as usize, bytes.len() - 4);
        assert_eq!((reader.i8().unwrap(), reader.i16().unwrap()), (-1, -2));
        assert_eq!((reader.i32().unwrap(), reader.i64().unwrap()), (-3, -4));
        assert_eq!(reader.uvarint().unwrap(), 300);
        assert_eq!(reader.string().unwrap(), b"ab");
        assert_eq!(reader.compact_bytes().unwrap(), b"cd");
        reader.skip_tags().unwrap();
        assert!(reader.i8().is_err());
    }

    #[test]
    fn a_varint_without_end_is_refused() {
        assert!(Reader::new(&[0xff; 11]).uvarint().is_err());
    }
}
