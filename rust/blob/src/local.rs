//! A directory as an object store: durable, atomic, shared by any number of processes.
//!
//! An object is a file whose path is its key. It is written under `.tmp`, synced, and moved into
//! place by rename(2), or by link(2) when it must not exist: that is exclusive on every POSIX file
//! system, network ones included. Then its directory and all above it are synced.
//!
//! Invariants: a file with an object's name is whole and its bytes are on disk. An answer to a put or
//! a create, `AlreadyExists` included, is given after the name is on disk as well. Everything is
//! done relative to the directory opened at the start, so nothing is ever written to another
//! directory that took its path (a disk that was unmounted).

mod delete;
mod list;
mod place;
mod read;
mod rooms;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod write;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use crate::local::rooms::Rooms;
use crate::{Error, Info, Kind, Op, Reply, Settings};

const TEMP_DIR: &str = ".tmp";

/// The store in one directory.
#[derive(Debug)]
pub struct LocalDir {
    path: PathBuf,
    root: OwnedFd,
    rooms: Arc<Rooms>,
}

impl LocalDir {
    /// Opens the directory, makes it if need be, and removes temporary files that nobody writes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let at = |why: std::io::Error| {
            let errno = Errno::from_io_error(&why).unwrap_or(Errno::IO);
            failed(errno, &format!("open directory {}", path.display()))
        };
        std::fs::create_dir_all(path).map_err(at)?;
        let path = path.canonicalize().map_err(at)?;
        let root = File::open(&path).map_err(at)?;
        if !root.metadata().map_err(at)?.is_dir() {
            return Err(failed(Errno::NOTDIR, &format!("open directory {}", path.display())));
        }
        let store = Self { path, root: root.into(), rooms: Arc::default() };
        store.sweep_temp_files()?;
        Ok(store)
    }

    /// Runs one operation to its end on this thread.
    pub(crate) fn run(&self, op: Op) -> Result<Reply, Error> {
        match op {
            Op::Put { key, data } => self.put(&key, &data).map(|()| Reply::Done),
            Op::Create { key, data } => self.create(&key, &data).map(|()| Reply::Done),
            Op::Get { key } => self.get(&key).map(Reply::Data),
            Op::GetRanges { key, ranges } => self.get_ranges(&key, &ranges).map(Reply::ranges),
            Op::Head { key } => self.head(&key).map(Reply::Info),
            Op::List { prefix, after, page } => self.list(&prefix, page.or(after)),
            Op::Delete { keys } => {
                let end = |key: String| self.delete(&key).err().map(|why| (key, why));
                Ok(Reply::Deleted { failed: keys.into_iter().filter_map(end).collect() })
            }
            Op::Copy { source, target } => {
                let data = self.get(&source)?;
                self.put(&target, &[data]).map(|()| Reply::Done)
            }
            Op::Settings => {
                Ok(Reply::Settings(Settings { prefix: String::new(), answers: Vec::new() }))
            }
        }
    }

    /// The whole object.
    pub fn get(&self, key: &str) -> Result<Bytes, Error> {
        let (file, stat) = self.open_object(key)?;
        let size = stat.st_size as u64;
        let whole = self.read(key, &file, size, &[(0, size)])?;
        Ok(whole.into_iter().next().unwrap_or_default())
    }

    /// Each range in full, or `Corrupt` when the object ends before one of them.
    pub fn get_ranges(&self, key: &str, ranges: &[(u64, u64)]) -> Result<Vec<Bytes>, Error> {
        let (file, stat) = self.open_object(key)?;
        let size = stat.st_size as u64;
        if let Some((start, end)) = ranges.iter().find(|(_, end)| *end > size) {
            let why = format!("asked for [{start}, {end}) of {size} bytes");
            return Err(Error::new(Kind::Corrupt, why));
        }
        self.read(key, &file, size, ranges)
    }

    pub fn head(&self, key: &str) -> Result<Info, Error> {
        let stat = statat(&self.root, key, AtFlags::empty()).map_err(|e| self.unread(e, key))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.unread(Errno::NOENT, key));
        }
        Ok(info(key.to_owned(), &stat))
    }

    fn open_object(&self, key: &str) -> Result<(OwnedFd, Stat), Error> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file =
            openat(&self.root, key, flags, Mode::empty()).map_err(|e| self.unread(e, key))?;
        let stat = fstat(&file).map_err(|e| self.unread(e, key))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.unread(Errno::NOENT, key));
        }
        Ok((file, stat))
    }

    fn read(
        &self,
        key: &str,
        file: impl AsFd,
        file_bytes: u64,
        ranges: &[(u64, u64)],
    ) -> Result<Vec<Bytes>, Error> {
        let read = read::read_ranges(&file, file_bytes, ranges, &self.rooms);
        read.map_err(|e| self.unread(e, key))?.ok_or_else(|| match fstat(&file) {
            // Only what is deleted shrinks (`delete`) ...
            Ok(stat) if stat.st_nlink == 0 => self.unread(Errno::NOENT, key),
            // ... and what the file system has damaged.
            _ => Error::new(Kind::Corrupt, format!("{key} was cut short")),
        })
    }

    fn unread(&self, errno: Errno, key: &str) -> Error {
        match errno {
            // A folder on the way that is a file is no object either.
            Errno::NOENT | Errno::NOTDIR => Error::new(Kind::NotFound, "no such object"),
            _ => failed(errno, &format!("read {}", self.path.join(key).display())),
        }
    }
}

fn info(key: String, stat: &Stat) -> Info {
    let modified_ms = stat.st_mtime * 1000 + stat.st_mtime_nsec as i64 / 1_000_000;
    Info { key, size_bytes: stat.st_size as u64, modified_ms }
}

/// An error of the operating system: who may fix it decides what it is called.
fn failed(errno: Errno, doing: &str) -> Error {
    let kind = match errno {
        Errno::ACCESS | Errno::PERM | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::XDEV => {
            Kind::Denied
        }
        _ => Kind::Unavailable,
    };
    Error::new(kind, format!("cannot {doing}: {}", std::io::Error::from(errno)))
}
