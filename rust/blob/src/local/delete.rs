//! Deleting: the name at once, the bytes a piece at a time.
//!
//! A file system that tells its disk what is free (`discard`) does so for a whole file in one step,
//! and whatever else writes there waits: a sync of the WAL 9 ms for every 64 MiB. So a piece is given
//! back, and the disk is left to others for as long as that took.

use std::os::fd::AsFd;
use std::thread;
use std::time::Instant;

use rustix::fs::{AtFlags, Mode, OFlags, fstat, ftruncate, openat, unlinkat};
use rustix::io::Errno;

use super::{LocalDir, failed};
use crate::Error;

/// What is given back in one step: a sync by another waits for no more than this.
const PIECE_BYTES: u64 = 1 << 20;

impl LocalDir {
    /// Removes the object if there is one, and the folders that this leaves empty. Not synced: an
    /// object that comes back after a crash is deleted again.
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(&self.root, key, flags, Mode::empty());
        match unlinkat(&self.root, key, AtFlags::empty()) {
            Ok(()) => {}
            // EISDIR: the key is a folder of other keys, and no object.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR) => return Ok(()),
            Err(e) => return Err(failed(e, &format!("delete {}", self.path.join(key).display()))),
        }
        if let Ok(file) = opened {
            // What is left, closing it gives back.
            let _ = give_back(&file);
        }
        let mut folder = key;
        while let Some((above, _)) = folder.rsplit_once('/') {
            if unlinkat(&self.root, above, AtFlags::REMOVEDIR).is_err() {
                break;
            }
            folder = above;
        }
        Ok(())
    }
}

/// Cuts a file that has lost its last name, from its end. One that still has a name is whole
/// (another's link to it, or how a network file system keeps what is open), and a file without
/// one can get none.
fn give_back(file: impl AsFd) -> rustix::io::Result<()> {
    let stat = fstat(&file)?;
    if stat.st_nlink > 0 {
        return Ok(());
    }
    let mut left_bytes = stat.st_size as u64;
    while left_bytes > PIECE_BYTES {
        left_bytes -= PIECE_BYTES;
        let began = Instant::now();
        ftruncate(&file, left_bytes)?;
        thread::sleep(began.elapsed());
    }
    Ok(())
}
