//! The CRC-32C of the rest of something, from that of all of it: without its bytes.
//!
//! A CRC is a remainder: that of `front` followed by `rest` is that of `front` times x to the number
//! of the bits of `rest`, xor that of `rest` (as zlib's crc32_combine has it). crc-fast's own takes
//! as long for it as for half a megabyte of bytes.

use automq_batch::crc32c;

/// Its lowest bit is that of the highest power, as in every reflected CRC.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const ONE: u32 = 1 << 31;
/// x^1, x^2, x^4, x^8 and so on.
const POWERS: [u32; 64] = powers();

const fn powers() -> [u32; 64] {
    let mut powers = [ONE >> 1; 64];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = times(powers[at - 1], powers[at - 1]);
        at += 1;
    }
    powers
}

const fn times(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = ONE;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = (b >> 1) ^ if b & 1 == 0 { 0 } else { POLYNOMIAL };
        bit >>= 1;
    }
    product
}

/// The CRC-32C of `rest_bytes` bytes that follow `front`; `of_all`: of both together.
pub fn crc32c_of_rest(of_all: u32, front: &[u8], rest_bytes: u64) -> u32 {
    let mut moved = crc32c(front);
    for bit in 0..u64::BITS - rest_bytes.leading_zeros() {
        if rest_bytes >> bit & 1 == 1 {
            // 8 bits a byte.
            moved = times(POWERS[(bit as usize + 3) % POWERS.len()], moved);
        }
    }
    of_all ^ moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_bytes_of_the_rest_give() {
        let data: Vec<u8> = (0..600_001u32).map(|at| (at * 7 % 251) as u8).collect();
        for (front, end) in [(8, 8), (8, 9), (0, 100), (8, 4096), (48, 524_336), (3, 600_001)] {
            let (front, rest) = data[..end].split_at(front);
            let found = crc32c_of_rest(crc32c(&data[..end]), front, rest.len() as u64);
            assert_eq!(found, crc32c(rest), "{} bytes and {}", front.len(), rest.len());
        }
    }
}
