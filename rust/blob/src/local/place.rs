//! Writing: temporary files, moving them into place, and syncing the way down to them.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, fdatasync, flock, fsync, linkat, mkdirat, openat,
    renameat, unlinkat,
};
use rustix::io::Errno;

use super::write::write_object;
use super::{LocalDir, TEMP_DIR, failed};
use crate::{Error, Kind};

/// How often a folder may be removed by others between making it and moving a file into it.
const ATTEMPTS_MAX: u32 = 32;
const DIR_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

static NEXT_TEMP: AtomicU64 = AtomicU64::new(0);

enum Placed {
    Now,
    AlreadyExists,
}

/// A temporary file that is gone when this is dropped. Its lock says that somebody writes it.
struct Temp {
    dir: OwnedFd,
    name: String,
    file: File,
}

impl Drop for Temp {
    fn drop(&mut self) {
        // After a rename there is nothing to unlink; what cannot be removed is swept at an open.
        let _ = unlinkat(&self.dir, &self.name, AtFlags::empty());
    }
}

impl LocalDir {
    /// Writes the object, in place of an older one. Durable when it returns.
    pub fn put(&self, key: &str, data: &[Bytes]) -> Result<(), Error> {
        let temp = self.write_temp(key, data)?;
        let (dir, _) = self
            .place(key, |dir, name| {
                renameat(&temp.dir, &temp.name, dir, name).map(|()| Placed::Now)
            })
            .map_err(|e| self.unplaced(e, key))?;
        self.sync_way_to(key, &dir).map_err(|e| self.unplaced(e, key))
    }

    /// Writes the object unless the key has one. Durable when it returns, and so is the object that
    /// was there when it says `AlreadyExists`: the winner may have died before its own sync.
    pub fn create(&self, key: &str, data: &[Bytes]) -> Result<(), Error> {
        let temp = self.write_temp(key, data)?;
        let (dir, placed) = self
            .place(key, |dir, name| {
                match linkat(&temp.dir, &temp.name, dir, name, AtFlags::empty()) {
                    Ok(()) => Ok(Placed::Now),
                    Err(Errno::EXIST) => Ok(Placed::AlreadyExists),
                    Err(e) => Err(e),
                }
            })
            .map_err(|e| match self.unplaced(e, key) {
                why if is_refusal(e) => why,
                why => Error::new(Kind::OutcomeUnknown, why.message),
            })?;
        self.sync_way_to(key, &dir)
            .map_err(|e| Error::new(Kind::OutcomeUnknown, self.unplaced(e, key).message))?;
        match placed {
            Placed::Now => Ok(()),
            Placed::AlreadyExists => Err(Error::new(Kind::AlreadyExists, "the key has an object")),
        }
    }

    /// Removes what writers left behind when they died. A living writer holds the file's lock; one
    /// that has not got it yet loses its file, is told so, and writes another.
    pub(super) fn sweep_temp_files(&self) -> Result<(), Error> {
        let doing = || format!("sweep {}", self.path.join(TEMP_DIR).display());
        let dir = self.temp_dir().map_err(|e| failed(e, &doing()))?;
        for entry in Dir::read_from(&dir).map_err(|e| failed(e, &doing()))? {
            let entry = entry.map_err(|e| failed(e, &doing()))?;
            let name = entry.file_name();
            if !name.to_bytes().starts_with(b".") && is_abandoned(&dir, name) {
                match unlinkat(&dir, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(failed(e, &doing())),
                }
            }
        }
        Ok(())
    }

    /// A file with the object's bytes, on disk, under a name that no list shows.
    fn write_temp(&self, key: &str, data: &[Bytes]) -> Result<Temp, Error> {
        let mut temp = self.create_temp().map_err(|e| {
            failed(e, &format!("create a file in {}", self.path.join(TEMP_DIR).display()))
        })?;
        write_object(&mut temp.file, data)
            .and_then(|()| fdatasync(&temp.file))
            .map_err(|e| self.unplaced(e, key))?;
        Ok(temp)
    }

    fn create_temp(&self) -> rustix::io::Result<Temp> {
        let dir = self.temp_dir()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        loop {
            let number = NEXT_TEMP.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", process::id());
            match openat(&dir, &name, flags, Mode::from_raw_mode(0o644)) {
                Ok(file) => {
                    // Where there are no locks, a sweep may take the file: told and retried.
                    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
                    return Ok(Temp { dir, name, file: file.into() });
                }
                // Another host on a shared file system, or one of ours that died.
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn temp_dir(&self) -> rustix::io::Result<OwnedFd> {
        match mkdirat(&self.root, TEMP_DIR, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => openat(&self.root, TEMP_DIR, DIR_FLAGS, Mode::empty()),
            Err(e) => match openat(&self.root, TEMP_DIR, DIR_FLAGS, Mode::empty()) {
                // It exists, and only making it was refused.
                Ok(dir) => Ok(dir),
                Err(_) => Err(e),
            },
        }
    }

    /// Moves a file to its name by `step(folder, name)`, making the folder as often as another
    /// deletes it; a folder with a file in it cannot be deleted any more.
    fn place(
        &self,
        key: &str,
        step: impl Fn(&OwnedFd, &str) -> rustix::io::Result<Placed>,
    ) -> rustix::io::Result<(OwnedFd, Placed)> {
        let (folder, name) = key.rsplit_once('/').unwrap_or((".", key));
        for _ in 0..ATTEMPTS_MAX {
            let placed = self.make_folder(folder).and_then(|dir| Ok((step(&dir, name)?, dir)));
            match placed {
                Ok((placed, dir)) => return Ok((dir, placed)),
                Err(Errno::NOENT) => {}
                Err(e) => return Err(e),
            }
        }
        Err(Errno::NOENT)
    }

    fn make_folder(&self, folder: &str) -> rustix::io::Result<OwnedFd> {
        match openat(&self.root, folder, DIR_FLAGS, Mode::empty()) {
            Err(Errno::NOENT) => {}
            opened => return opened,
        }
        for (at, _) in folder.match_indices('/').chain([(folder.len(), "")]) {
            match mkdirat(&self.root, &folder[..at], Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
            }
        }
        openat(&self.root, folder, DIR_FLAGS, Mode::empty())
    }

    /// Puts the name on disk: its folder, and every folder above up to the root. All of them, each
    /// time: another process may have made one of them and not synced it yet.
    fn sync_way_to(&self, key: &str, dir: &OwnedFd) -> rustix::io::Result<()> {
        fsync(dir)?;
        let mut folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        while let Some((above, _)) = folder.rsplit_once('/') {
            fsync(openat(&self.root, above, DIR_FLAGS, Mode::empty())?)?;
            folder = above;
        }
        if folder.is_empty() { Ok(()) } else { fsync(&self.root) }
    }

    fn unplaced(&self, errno: Errno, key: &str) -> Error {
        failed(errno, &format!("write {}", self.path.join(key).display()))
    }
}

/// Whether the file system did nothing for sure. After others (EIO, ESTALE, a time-out of a network
/// file system) the name may be there.
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT
            | Errno::ACCESS
            | Errno::PERM
            | Errno::ROFS
            | Errno::NOSPC
            | Errno::DQUOT
            | Errno::NOTDIR
            | Errno::XDEV
            | Errno::MLINK
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::NFILE
            | Errno::MFILE
    )
}

fn is_abandoned(dir: &OwnedFd, name: &CStr) -> bool {
    // For writing: network file systems lock nothing exclusively that is open for reading.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(dir, name, flags, Mode::empty()) {
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(_) => false,
    }
}
