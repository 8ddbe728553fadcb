//! The four codecs as Kafka's clients write and read them, with a bound on what comes out.
//!
//! snappy: written in xerial's framing (a 16-byte head, then blocks of 32 KiB) as Java does; read
//! in that and raw, as some other clients send it. lz4: frames of independent 64 KiB blocks
//! without checksums of blocks or content. gzip and zstd: one or several members or frames.

use std::fmt;
use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use crate::header::Codec;

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEAD_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

/// Why compressed bytes gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnpackError {
    /// More would come out than the caller allows.
    TooLarge {
        bytes_max: usize,
    },
    Damaged(String),
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnpackError::TooLarge { bytes_max } => {
                write!(f, "more than {bytes_max} bytes after decompression")
            }
            UnpackError::Damaged(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for UnpackError {}

/// Compresses. `level` is that of `compression.<codec>.level`; None is Kafka's default.
///
/// lz4 and snappy have one level: others change how hard Java searches, not what it writes.
pub fn pack(codec: Codec, level: Option<i32>, data: &[u8]) -> io::Result<Vec<u8>> {
    let out = Vec::with_capacity(data.len() / 2 + 64);
    match codec {
        Codec::None => Ok(data.to_vec()),
        Codec::Gzip => {
            let level = level.filter(|level| *level >= 0).unwrap_or(6).min(9) as u32;
            let mut encoder = GzEncoder::new(out, flate2::Compression::new(level));
            encoder.write_all(data)?;
            encoder.finish()
        }
        Codec::Snappy => pack_xerial(data, out),
        Codec::Lz4 => {
            let info =
                FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
            let mut encoder = FrameEncoder::with_frame_info(info, out);
            encoder.write_all(data)?;
            encoder.finish().map_err(io::Error::other)
        }
        Codec::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(out, level.unwrap_or(3))?;
            encoder.set_pledged_src_size(Some(data.len() as u64))?;
            encoder.write_all(data)?;
            encoder.finish()
        }
    }
}

fn pack_xerial(data: &[u8], mut out: Vec<u8>) -> io::Result<Vec<u8>> {
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes()); // version
    out.extend_from_slice(&1i32.to_be_bytes()); // oldest compatible version
    let mut encoder = snap::raw::Encoder::new();
    for block in data.chunks(XERIAL_BLOCK_BYTES) {
        let length_at = out.len();
        let body_at = length_at + 4;
        out.resize(body_at + snap::raw::max_compress_len(block.len()), 0);
        let size = encoder.compress(block, &mut out[body_at..]).map_err(io::Error::other)?;
        out[length_at..body_at].copy_from_slice(&(size as i32).to_be_bytes());
        out.truncate(body_at + size);
    }
    Ok(out)
}

/// Decompresses to at most `bytes_max` bytes. Never allocates much more than comes out.
pub fn unpack(codec: Codec, data: &[u8], bytes_max: usize) -> Result<Vec<u8>, UnpackError> {
    match codec {
        Codec::None if data.len() > bytes_max => Err(UnpackError::TooLarge { bytes_max }),
        Codec::None => Ok(data.to_vec()),
        Codec::Gzip => read_bounded(MultiGzDecoder::new(data), "gzip", data.len(), bytes_max),
        Codec::Snappy => unpack_snappy(data, bytes_max),
        Codec::Lz4 => read_bounded(FrameDecoder::new(data), "lz4", data.len(), bytes_max),
        Codec::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(data)
                .map_err(|error| UnpackError::Damaged(format!("zstd: {error}")))?;
            read_bounded(decoder, "zstd", data.len(), bytes_max)
        }
    }
}

fn read_bounded(
    reader: impl Read,
    codec: &str,
    packed_bytes: usize,
    bytes_max: usize,
) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::with_capacity((packed_bytes * 3).min(bytes_max));
    let limit = (bytes_max as u64).saturating_add(1);
    reader
        .take(limit)
        .read_to_end(&mut out)
        .map_err(|error| UnpackError::Damaged(format!("{codec}: {error}")))?;
    if out.len() > bytes_max {
        return Err(UnpackError::TooLarge { bytes_max });
    }
    Ok(out)
}

fn unpack_snappy(data: &[u8], bytes_max: usize) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    if !data.starts_with(&XERIAL_MAGIC) {
        append_snappy(data, &mut out, bytes_max)?;
        return Ok(out);
    }
    let Some(mut rest) = data.get(XERIAL_HEAD_BYTES..) else {
        return Err(UnpackError::Damaged("snappy: the xerial head is cut short".into()));
    };
    while !rest.is_empty() {
        // Java's reader accepts streams that were joined: another head where a length should be.
        if rest.starts_with(&XERIAL_MAGIC) && rest.len() >= XERIAL_HEAD_BYTES {
            rest = &rest[XERIAL_HEAD_BYTES..];
            continue;
        }
        let length = rest.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        let block = length
            .and_then(|length| usize::try_from(length).ok())
            .and_then(|length| rest.get(4..4 + length));
        let Some(block) = block else {
            return Err(UnpackError::Damaged("snappy: a block is cut short".into()));
        };
        append_snappy(block, &mut out, bytes_max)?;
        rest = &rest[4 + block.len()..];
    }
    Ok(out)
}

fn append_snappy(block: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), UnpackError> {
    let damaged = |error: snap::Error| UnpackError::Damaged(format!("snappy: {error}"));
    let size = snap::raw::decompress_len(block).map_err(damaged)?;
    if size > bytes_max - out.len() {
        return Err(UnpackError::TooLarge { bytes_max });
    }
    // A snappy byte yields at most 64/3: a length that no block of this size can have is refused
    // before it is reserved.
    if size > block.len().saturating_mul(64) {
        return Err(UnpackError::Damaged(format!("snappy: a length of {size} bytes")));
    }
    let start = out.len();
    out.resize(start + size, 0);
    let written =
        snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(damaged)?;
    out.truncate(start + written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Vec<u8>> {
        let noise = (0u32..100_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let words = b"the quick brown fox ".repeat(9_000);
        vec![vec![], vec![7], words, noise, vec![0; 300_000]]
    }

    #[test]
    fn unpacking_inverts_packing() {
        for codec in Codec::ALL {
            for data in samples() {
                let packed = pack(codec, None, &data).expect("packed");
                let unpacked = unpack(codec, &packed, data.len());
                assert_eq!(unpacked, Ok(data), "{codec:?}");
            }
        }
    }

    #[test]
    fn output_is_bounded() {
        for codec in Codec::ALL {
            let packed = pack(codec, None, &vec![0; 100_000]).expect("packed");
            let bytes_max = 99_999;
            assert_eq!(unpack(codec, &packed, bytes_max), Err(UnpackError::TooLarge { bytes_max }));
        }
    }

    #[test]
    fn raw_snappy_is_read() {
        let data = b"hello hello hello hello".repeat(10);
        let raw = snap::raw::Encoder::new().compress_vec(&data).expect("packed");
        assert_eq!(unpack(Codec::Snappy, &raw, 1_000), Ok(data));
    }

    #[test]
    fn a_snappy_length_that_cannot_be_is_refused_before_it_is_reserved() {
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
        assert!(unpack(Codec::Snappy, &bomb, usize::MAX).is_err());
    }

    #[test]
    fn damaged_bytes_never_panic() {
        for codec in Codec::ALL {
            let packed = pack(codec, None, &samples()[2][..2_000]).expect("packed");
            for end in 0..packed.len() {
                let _ = unpack(codec, &packed[..end], 10_000);
            }
            for at in 0..packed.len() {
                for bit in 0..8 {
                    let mut damaged = packed.clone();
                    damaged[at] ^= 1 << bit;
                    let _ = unpack(codec, &damaged, 10_000);
                }
            }
        }
    }

    #[test]
    fn levels_are_those_of_kafka() {
        let data = &samples()[2];
        for (codec, levels) in [(Codec::Gzip, [-1, 1, 9]), (Codec::Zstd, [-131_072, 1, 22])] {
            for level in levels {
                let packed = pack(codec, Some(level), data).expect("packed");
                assert_eq!(unpack(codec, &packed, data.len()).as_ref(), Ok(data));
            }
        }
    }
}
