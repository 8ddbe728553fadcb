//! The owner block: whose a WAL on a shared file system is, as every machine sees it.
//!
//! A file lock says nothing to another machine, and a machine that lost its network may come back.
//! So the two sides meet in one block of the WAL's directory, as in Dekker's algorithm:
//!
//! * the **writer** syncs its records, *then* reads the block, *then* acknowledges, and only if the
//!   block is its own to the last byte ([`Watch::check`]);
//! * the **taker** writes the block and syncs it, *then* lists and reads the WAL ([`take`]).
//!
//! Each does its own step before it looks at the other's, so at least one of them sees the other:
//! either the taker's reading begins after the writer's sync and finds the records, or the writer's
//! reading begins after the taker's sync and finds the taker. What was acknowledged is always read.
//! The writer's block never comes back: the writer writes it once, before it leads anything, and
//! what it finds then it believes for ever.
//!
//! The block is rewritten in place, never replaced by a rename: the writer reads through the file
//! that it opened at the beginning, so that neither a name nor a directory is cached between them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::dir::sync_dir;
use crate::disk::{Disk, OwnerFile};
use crate::error::Error;
use crate::options::Options;
use crate::record::u64_at;
use crate::recover::written_by;

pub const OWNER_FILE: &str = "owner";
pub const OWNER_BYTES: usize = 4096;
const MAGIC: &[u8; 8] = b"AQWALOWN";
const VERSION: u32 = 1;
/// Made and removed by a taker, so that its machine lists the directory afresh.
const FRESH: &str = "taken.tmp";

/// The bytes of an owner block, where direct reads want them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C, align(4096))]
pub struct Block(pub [u8; OWNER_BYTES]);

impl Block {
    pub fn empty() -> Box<Self> {
        Box::new(Self([0; OWNER_BYTES]))
    }
}

/// The incarnation of a node that takes a WAL over, as the metadata log has stored it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taker {
    pub node_id: i32,
    pub node_epoch: i64,
}

/// What an owner block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub wal_id: i64,
    pub cluster_id: [u8; 16],
    pub node_id: i32,
    /// Of a taker; -1 of the writer, whose incarnation the WAL's id names.
    pub node_epoch: i64,
}

impl Owner {
    fn writer(options: &Options) -> Self {
        let (wal_id, cluster_id, node_id) = (options.wal_id, options.cluster_id, options.node_id);
        Self { wal_id, cluster_id, node_id, node_epoch: -1 }
    }

    /// Whether a taker has written it.
    pub fn is_taker(&self) -> bool {
        self.node_epoch >= 0
    }

    fn taker(wal_id: i64, cluster_id: [u8; 16], taker: Taker) -> Self {
        let Taker { node_id, node_epoch } = taker;
        Self { wal_id, cluster_id, node_id, node_epoch }
    }

    pub fn encode(&self) -> Box<Block> {
        let mut block = Block::empty();
        let out = &mut block.0;
        out[0..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.wal_id.to_le_bytes());
        out[24..28].copy_from_slice(&self.node_id.to_le_bytes());
        out[32..48].copy_from_slice(&self.cluster_id);
        out[48..56].copy_from_slice(&self.node_epoch.to_le_bytes());
        let checksum = checksum(out);
        out[12..16].copy_from_slice(&checksum.to_le_bytes());
        block
    }

    /// `None` for anything but a whole block of a version known.
    pub fn parse(bytes: &[u8; OWNER_BYTES]) -> Option<Self> {
        let known = (&bytes[0..8], u64_at(bytes, 8) as u32) == (MAGIC.as_slice(), VERSION);
        if !known || (u64_at(bytes, 8) >> 32) as u32 != checksum(bytes) {
            return None;
        }
        let mut cluster_id = [0; 16];
        cluster_id.copy_from_slice(&bytes[32..48]);
        Some(Self {
            wal_id: u64_at(bytes, 16) as i64,
            cluster_id,
            node_id: u64_at(bytes, 24) as i32,
            node_epoch: u64_at(bytes, 48) as i64,
        })
    }
}

fn checksum(block: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &block[16..]) as u32
}

/// How a writer reads its owner block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerReads {
    /// Past this machine's cache, by O_DIRECT.
    Direct,
    /// The file system refuses O_DIRECT: the cache is asked to let go before each reading.
    Cached,
}

/// The writer's side: its own block, and the open file in which it looks for it.
pub struct Watch {
    path: PathBuf,
    own: Box<Block>,
    found: Box<Block>,
    file: Box<dyn OwnerFile>,
}

impl Watch {
    /// Writes the block of a new WAL, durably, and opens it for [`Watch::check`].
    ///
    /// Written once, before the writer leads anything, and never again.
    pub fn begin(dir: &Path, options: &Options, disk: &dyn Disk) -> Result<Self, Error> {
        let path = dir.join(OWNER_FILE);
        let own = Owner::writer(options).encode();
        let created = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = match created {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Used { path: dir.to_owned() });
            }
            created => created.map_err(|e| Error::io("creation", &path, e))?,
        };
        let written = file.write_all(&own.0).and_then(|()| file.sync_all());
        written.map_err(|e| Error::io("write", &path, e))?;
        sync_dir(dir)?;
        let file = disk.open_owner(&path).map_err(|e| Error::io("open", &path, e))?;
        let mut watch = Self { path, own, found: Block::empty(), file };
        match watch.check() {
            Ok(()) => Ok(watch),
            Err(e) => Err(Error::io("owner check", &watch.path, e)),
        }
    }

    pub fn reads(&self) -> OwnerReads {
        if self.file.is_direct() { OwnerReads::Direct } else { OwnerReads::Cached }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fails unless the block is this writer's own, to the last byte: a taker's, half of one, or
    /// one that cannot be read all mean that somebody else may be reading the WAL.
    ///
    /// Invariant: called after every sync and before what it synced is acknowledged; after a
    /// failure nothing is acknowledged any more.
    pub fn check(&mut self) -> io::Result<()> {
        // Nothing of an earlier reading may pass for this one.
        self.found.0.fill(0);
        self.file.read(&mut self.found)?;
        if self.found == self.own {
            return Ok(());
        }
        Err(io::Error::other(match Owner::parse(&self.found.0) {
            Some(owner) => format!(
                "node {} has taken this log over; nothing more is acknowledged here",
                owner.node_id
            ),
            None => {
                "the owner block is not this node's any more; nothing more is acknowledged here"
                    .to_owned()
            }
        }))
    }
}

/// The taker's side: makes the WAL in `dir` the taker's, durably. False if its writer looks at no
/// owner block (a disk of one machine): only its lock tells then that it is gone.
///
/// Invariant: once this has returned true, everything that its writer ever acknowledged is synced,
/// and it acknowledges nothing more. Only then the taker lists the directory and reads.
///
/// Another cluster's WAL is refused before anything is written: its writer may be well.
pub fn take(
    dir: &Path,
    wal_id: i64,
    cluster: Option<[u8; 16]>,
    taker: Taker,
) -> Result<bool, Error> {
    let path = dir.join(OWNER_FILE);
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(|e| Error::io("open", &path, e))?,
    };
    let known = read(&file, &path)?;
    let cluster_id = match &known {
        Some(owner) if owner.wal_id != wal_id => {
            let why = format!("belongs to WAL {}, not {wal_id}", owner.wal_id);
            return Err(Error::Foreign { path, why });
        }
        Some(owner) => Some(owner.cluster_id),
        // A taker died while it wrote this; the segments name the cluster as well.
        None => written_by(dir)?.map(|(cluster_id, _)| cluster_id),
    };
    if let (Some(found), Some(wanted)) = (cluster_id, cluster)
        && found != wanted
    {
        return Err(Error::Foreign { path, why: "belongs to another cluster".to_owned() });
    }
    let own = Owner::taker(wal_id, cluster.or(cluster_id).unwrap_or_default(), taker).encode();
    let written = std::os::unix::fs::FileExt::write_all_at(&file, &own.0, 0);
    written.and_then(|()| file.sync_all()).map_err(|e| Error::io("write", &path, e))?;
    refresh(dir)?;
    Ok(true)
}

/// The owner block in `dir`; `None` where there is none, or not a whole one.
pub fn block_in(dir: &Path) -> Result<Option<Owner>, Error> {
    let path = dir.join(OWNER_FILE);
    match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => read(&opened.map_err(|e| Error::io("open", &path, e))?, &path),
    }
}

fn read(file: &File, path: &Path) -> Result<Option<Owner>, Error> {
    let mut block = Block::empty();
    match std::os::unix::fs::FileExt::read_exact_at(file, &mut block.0, 0) {
        Ok(()) => Ok(Owner::parse(&block.0)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

/// Changes the directory from this machine: what it had cached of the listing is asked for again.
/// The writer may have begun segments since somebody looked here last.
fn refresh(dir: &Path) -> Result<(), Error> {
    let path = dir.join(FRESH);
    let failed = |e| Error::io("creation", &path, e);
    File::create(&path).map_err(failed)?;
    match std::fs::remove_file(&path) {
        // Another taker has removed it: it changed the directory as well.
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        let cluster_id = *b"0123456789abcdef";
        Owner { wal_id: 5, cluster_id, node_id: 2, node_epoch: 77 }
    }

    #[test]
    fn a_block_is_read_back_as_written() {
        assert_eq!(Owner::parse(&owner().encode().0), Some(owner()));
    }

    #[test]
    fn a_flipped_bit_makes_it_nobodys() {
        for at in [0, 9, 13, 17, 25, 29, 33, 49, 100, 4095] {
            let mut block = owner().encode();
            block.0[at] ^= 1;
            assert_eq!(Owner::parse(&block.0), None, "{at}");
        }
    }

    #[test]
    fn the_bytes_of_a_block_are_those_of_the_golden_file() {
        let golden = include_bytes!("../../../tests/golden/wal-owner-v1.bin");
        assert_eq!(&owner().encode().0, golden);
        assert_eq!(Owner::parse(golden), Some(owner()));
    }
}
