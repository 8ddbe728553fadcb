//! Rows of integers, kept by column, each column coded by what makes it shortest.
//!
//! Layout: `rows` and `width` as unsigned varints, then each column: one byte of coding, then a
//! zigzag varint per row. Coding 0 is the value itself, 1 the difference to the row before (to 0 in
//! the first row), 2 the difference to the column before in the same row. Differences wrap.

use bytes::Bytes;

const PLAIN: u8 = 0;
const DELTA: u8 = 1;
const BESIDE: u8 = 2;

/// More columns than any record has: a bound on what damaged bytes can ask for.
const WIDTH_MAX: usize = 32;

/// Why bytes are no columns, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    pub at: usize,
    pub why: &'static str,
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "damaged columns at byte {}: {}", self.at, self.why)
    }
}

impl std::error::Error for Damaged {}

/// Packed bytes and the values they stand for. Equal columns have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    packed: Bytes,
    values: Vec<Vec<i64>>,
}

impl Columns {
    /// Packs columns of one length. `None` if the lengths differ or there are too many columns.
    pub fn new(values: Vec<Vec<i64>>) -> Option<Self> {
        let rows = values.first().map_or(0, Vec::len);
        if values.len() > WIDTH_MAX || values.iter().any(|column| column.len() != rows) {
            return None;
        }
        let mut out = Vec::with_capacity(rows * values.len() * 2 + 8);
        write_varint(&mut out, rows as u64);
        write_varint(&mut out, values.len() as u64);
        for (index, column) in values.iter().enumerate() {
            let beside = index.checked_sub(1).map(|before| values[before].as_slice());
            write_column(&mut out, column, beside);
        }
        Some(Self { packed: out.into(), values })
    }

    /// Reads packed columns that fill `packed` to its end.
    pub fn parse(packed: Bytes) -> Result<Self, Damaged> {
        let mut at = 0;
        let rows = read_varint(&packed, &mut at)? as usize;
        let width = read_varint(&packed, &mut at)? as usize;
        if width > WIDTH_MAX {
            return Err(Damaged { at, why: "too many columns" });
        }
        // A value takes a byte at least, so this bounds what is allocated.
        if rows.checked_mul(width).is_none_or(|needed| needed > packed.len() - at) {
            return Err(Damaged { at, why: "fewer bytes than values" });
        }
        if width == 0 && rows > 0 {
            return Err(Damaged { at, why: "rows without columns" });
        }
        let mut values: Vec<Vec<i64>> = Vec::with_capacity(width);
        for _ in 0..width {
            let column = read_column(&packed, &mut at, rows, values.last().map(Vec::as_slice))?;
            values.push(column);
        }
        if at != packed.len() {
            return Err(Damaged { at, why: "bytes after the last column" });
        }
        Ok(Self { packed, values })
    }

    pub fn packed(&self) -> &Bytes {
        &self.packed
    }

    pub fn rows(&self) -> usize {
        self.values.first().map_or(0, Vec::len)
    }

    pub fn width(&self) -> usize {
        self.values.len()
    }

    pub fn values(&self) -> &[Vec<i64>] {
        &self.values
    }

    /// The columns as slices; `None` if there are not exactly `N` of them.
    pub fn split<const N: usize>(&self) -> Option<[&[i64]; N]> {
        if self.values.len() != N {
            return None;
        }
        Some(std::array::from_fn(|index| self.values[index].as_slice()))
    }
}

fn write_column(out: &mut Vec<u8>, column: &[i64], beside: Option<&[i64]>) {
    let mut best = (PLAIN, size_of(column.iter().copied()));
    let delta = size_of(deltas(column));
    if delta < best.1 {
        best = (DELTA, delta);
    }
    if let Some(beside) = beside {
        let size = size_of(column.iter().zip(beside).map(|(v, b)| v.wrapping_sub(*b)));
        if size < best.1 {
            best = (BESIDE, size);
        }
    }
    out.push(best.0);
    match (best.0, beside) {
        (DELTA, _) => deltas(column).for_each(|v| write_signed(out, v)),
        (BESIDE, Some(beside)) => {
            column.iter().zip(beside).for_each(|(v, b)| write_signed(out, v.wrapping_sub(*b)));
        }
        _ => column.iter().for_each(|v| write_signed(out, *v)),
    }
}

fn read_column(
    packed: &[u8],
    at: &mut usize,
    rows: usize,
    beside: Option<&[i64]>,
) -> Result<Vec<i64>, Damaged> {
    let coding = *packed.get(*at).ok_or(Damaged { at: *at, why: "the bytes end" })?;
    *at += 1;
    let mut column = Vec::with_capacity(rows);
    let mut before = 0_i64;
    for row in 0..rows {
        let read = read_signed(packed, at)?;
        let value = match (coding, beside) {
            (PLAIN, _) => read,
            (DELTA, _) => before.wrapping_add(read),
            (BESIDE, Some(beside)) => beside[row].wrapping_add(read),
            _ => return Err(Damaged { at: *at, why: "unknown coding" }),
        };
        column.push(value);
        before = value;
    }
    Ok(column)
}

fn deltas(column: &[i64]) -> impl Iterator<Item = i64> + '_ {
    let before = std::iter::once(0).chain(column.iter().copied());
    column.iter().zip(before).map(|(value, before)| value.wrapping_sub(before))
}

fn size_of(values: impl Iterator<Item = i64>) -> usize {
    values.map(|value| (70 - (zigzag(value) | 1).leading_zeros() as usize) / 7).sum()
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn write_signed(out: &mut Vec<u8>, value: i64) {
    write_varint(out, zigzag(value));
}

pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn read_signed(bytes: &[u8], at: &mut usize) -> Result<i64, Damaged> {
    let value = read_varint(bytes, at)?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

pub(crate) fn read_varint(bytes: &[u8], at: &mut usize) -> Result<u64, Damaged> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or(Damaged { at: *at, why: "the bytes end" })?;
        *at += 1;
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Damaged { at: *at, why: "a number longer than 64 bits" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(values: Vec<Vec<i64>>) -> usize {
        let columns = Columns::new(values.clone()).unwrap();
        let parsed = Columns::parse(columns.packed().clone()).unwrap();
        assert_eq!(parsed.values(), values.as_slice());
        columns.packed().len()
    }

    #[test]
    fn what_was_packed_is_read_back() {
        round_trip(vec![]);
        round_trip(vec![vec![], vec![]]);
        round_trip(vec![vec![i64::MIN, i64::MAX, 0, -1, 1], vec![5, i64::MAX, i64::MIN, 0, 0]]);
    }

    #[test]
    fn a_range_of_a_commit_takes_about_ten_bytes() {
        let rows = 20_000_i64;
        let stream: Vec<i64> = (0..rows).map(|i| 1_000 + i * 3).collect();
        let start: Vec<i64> = (0..rows).map(|i| (i * 7_919) % 1_000_000).collect();
        let end = start.iter().map(|s| s + 40).collect();
        let bytes = (0..rows).map(|i| 3_000 + i % 500).collect();
        let stamp = (0..rows).map(|i| 1_700_000_000_000 + (i * 31) % 5_000).collect();
        let size = round_trip(vec![stream, start, end, bytes, stamp]);
        assert!(size < 11 * rows as usize, "{size} bytes");
    }

    #[test]
    fn damaged_bytes_are_refused_and_never_allocate_more_than_they_hold() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x02, 0x00];
        assert!(Columns::parse(Bytes::copy_from_slice(&huge)).is_err());
        let good = Columns::new(vec![vec![1, 2, 3], vec![9, 9, 9]]).unwrap();
        for length in 0..good.packed().len() {
            assert!(Columns::parse(good.packed().slice(..length)).is_err(), "{length} bytes");
        }
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            let mut bytes = good.packed().to_vec();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 33) as usize % bytes.len();
            bytes[at] = (seed >> 20) as u8;
            let _ = Columns::parse(bytes.into());
        }
    }

    #[test]
    fn columns_of_different_lengths_are_refused() {
        assert!(Columns::new(vec![vec![1], vec![]]).is_none());
    }
}
