//! Reading and writing Kafka's primitive types. Every read is checked against what is left.

use crate::error::Malformed;

type Read<T> = Result<T, Malformed>;

/// A cursor over bytes that may be anything.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Read<Self> {
        if at > bytes.len() {
            let length = bytes.len();
            return Err(Malformed::new(format!("starts at {at}, but there are {length} bytes")));
        }
        Ok(Self { bytes, at })
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        if count > self.remaining() {
            let (at, left) = (self.at, self.remaining());
            return Err(Malformed::new(format!("{count} bytes wanted at {at}, {left} are left")));
        }
        let start = self.at;
        self.at += count;
        Ok(&self.bytes[start..self.at])
    }

    pub fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => self.take(N).map(|_| [0; N]),
        }
    }

    pub fn i8(&mut self) -> Read<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Read<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Read<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// At most five bytes, of which the last adds four bits.
    pub fn unsigned_varint(&mut self) -> Read<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        let at = self.at;
        Err(Malformed::new(format!("the varint that ends at {at} is over 32 bits")))
    }

    /// A length of a string, or with `wide` of anything else; None is null.
    pub fn length(&mut self, compact: bool, wide: bool) -> Read<Option<usize>> {
        if compact {
            let length = self.unsigned_varint()?;
            return Ok((length as usize).checked_sub(1));
        }
        let length = if wide { self.i32()? } else { i32::from(self.i16()?) };
        Ok(usize::try_from(length).ok())
    }
}

/// Appends to `out` the varint of `value`.
#[inline]
pub(crate) fn put_unsigned_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Read<u32> {
        Reader::new(bytes, 0)?.unsigned_varint()
    }

    #[test]
    fn a_varint_survives_the_way_there_and_back() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u32::MAX / 2, u32::MAX] {
            let mut out = Vec::new();
            put_unsigned_varint(&mut out, value);
            assert_eq!(read(&out), Ok(value));
        }
    }

    #[test]
    fn a_varint_of_more_than_32_bits_is_refused() {
        assert!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f]).is_err());
        assert!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]).is_err());
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let mut reader = Reader::new(&[1, 2, 3], 1).expect("in bounds");
        assert!(reader.i32().is_err());
        assert_eq!(reader.i16(), Ok(0x0203));
        assert!(reader.take(1).is_err());
        assert!(Reader::new(&[1], 2).is_err());
    }
}
