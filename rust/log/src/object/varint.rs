//! Integers in as few bytes as they need.

use super::DamagedObject;

pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Reads integers one after another; `base` is where `bytes` starts in the object.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    base: u64,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], at: usize, base: u64) -> Self {
        Self { bytes, at, base }
    }

    pub fn position(&self) -> u64 {
        self.base + self.at as u64
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub fn damaged(&self, why: impl Into<String>) -> DamagedObject {
        DamagedObject::at(self.position(), why)
    }

    pub fn next(&mut self) -> Result<u64, DamagedObject> {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(self.damaged("an integer that is cut short"));
            };
            if shift == 63 && byte > 1 {
                return Err(self.damaged("an integer above 2^64"));
            }
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub fn next_signed(&mut self) -> Result<i64, DamagedObject> {
        let value = self.next()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_inverts_writing() {
        let values = [0, 1, -1, 63, 64, -64, -65, 1 << 40, i64::MAX, i64::MIN];
        let mut out = Vec::new();
        values.iter().for_each(|value| put_signed(&mut out, *value));
        let mut reader = Reader::new(&out, 0, 0);
        for value in values {
            assert_eq!(reader.next_signed(), Ok(value));
        }
        assert!(reader.is_at_end());
        assert!(reader.next().is_err());
    }

    #[test]
    fn an_endless_integer_is_refused() {
        assert!(Reader::new(&[0xff; 20], 0, 0).next().is_err());
        assert_eq!(Reader::new(&[0xff; 5], 0, 100).next().unwrap_err().position, 105);
    }
}
