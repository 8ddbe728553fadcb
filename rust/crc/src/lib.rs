//! CRC-32C (Castagnoli) of bytes that are known in parts.
//!
//! What two parts come to together follows from the checksum of each and the length of the second:
//! a checksum is a remainder of polynomials over GF(2), so putting `n` bytes behind a part means
//! multiplying by `x^(8 n)`. Whoever has the checksum of a payload in hand, as a broker that has
//! just compared the one its producer sent, need not read the payload again.

use crc_fast::{CrcAlgorithm, Digest};

/// The polynomial, lowest power in the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const ONE: u32 = 1 << 31;
/// x^1, x^2, x^4, x^8 and so on, enough for lengths of 64 bits in bytes.
const POWERS: [u32; 67] = powers();

/// From so many known bytes on, joining is worth it: below, reading them again costs no more.
pub const JOINED_BYTES_MIN: usize = 4096;

/// The checksum of `data`.
pub fn crc32c(data: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(data)
}

/// The checksum of what has `before` and, behind it, `data`.
pub fn continued(before: u32, data: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!before));
    digest.update(data);
    digest.finalize() as u32
}

/// The checksum of what has `first` and, behind it, `second_bytes` bytes that have `second`.
///
/// A third of a microsecond, whatever the length; crc-fast's own takes as long for it as for half
/// a megabyte of bytes.
pub fn joined(first: u32, second: u32, second_bytes: u64) -> u32 {
    let mut shift = ONE;
    let mut left = second_bytes;
    // x^(8 n) is the product of x^(2^k) for the bits k of 8 n.
    while left != 0 {
        let bit = left.trailing_zeros();
        shift = times(POWERS[bit as usize + 3], shift);
        left &= left - 1;
    }
    times(shift, first) ^ second
}

/// The checksum of the `rest_bytes` bytes behind `front`, where both together have `of_all`.
pub fn crc32c_of_rest(of_all: u32, front: &[u8], rest_bytes: u64) -> u32 {
    // What is added to `second` to get that of all is taken away by adding it again.
    joined(crc32c(front), of_all, rest_bytes)
}

/// The product of two polynomials, reduced.
const fn times(one: u32, mut other: u32) -> u32 {
    let mut product = 0;
    let mut bit = ONE;
    while bit != 0 {
        if one & bit != 0 {
            product ^= other;
        }
        other = (other >> 1) ^ if other & 1 == 0 { 0 } else { POLYNOMIAL };
        bit >>= 1;
    }
    product
}

const fn powers() -> [u32; 67] {
    let mut found = [ONE >> 1; 67];
    let mut at = 1;
    while at < found.len() {
        found[at] = times(found[at - 1], found[at - 1]);
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|at| (at * at / 7 + at) as u8).collect()
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn two_parts_come_to_what_the_whole_does() {
        let data = bytes(300_001);
        for end in [0, 1, 2, 3, 64, 4_095, 4_096, 65_537, 300_001] {
            for middle in [0, 1, 21, 85, end / 2, end] {
                let (first, second) = data[..end].split_at(middle.min(end));
                let second_bytes = second.len() as u64;
                let both = joined(crc32c(first), crc32c(second), second_bytes);
                assert_eq!(both, crc32c(&data[..end]), "{middle} of {end}");
                assert_eq!(continued(crc32c(first), second), both, "{middle} of {end}");
            }
        }
    }

    #[test]
    fn lengths_of_32_bits_are_right() {
        // 2^31 + 5 zero bytes behind the first part, put there in pieces that are easy to check.
        let piece = crc32c(&[0; 1 << 16]);
        let all = (0..1 << 15).fold(7, |crc, _| joined(crc, piece, 1 << 16));
        let zeros = (0..1 << 15).fold(0, |crc, _| joined(crc, piece, 1 << 16));
        let (behind, end) = (crc32c(&[0; 5]), joined(zeros, crc32c(&[0; 5]), 5));
        assert_eq!(joined(7, end, (1 << 31) + 5), joined(all, behind, 5));
    }

    #[test]
    fn the_rest_is_what_its_bytes_give() {
        let data = bytes(600_001);
        for (front, end) in [(8, 8), (8, 9), (0, 100), (8, 4096), (48, 524_336), (3, 600_001)] {
            let (front, rest) = data[..end].split_at(front);
            let found = crc32c_of_rest(crc32c(&data[..end]), front, rest.len() as u64);
            assert_eq!(found, crc32c(rest), "{} bytes and {}", front.len(), rest.len());
        }
    }
}
