//! The directory of one WAL: making, locking, listing, removing it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

use crate::error::Error;
use crate::owner::{OWNER_FILE, block_in};
use crate::segment::position_of_name;

const LOCK: &str = "lock";
pub const TEMPORARY: &str = "new.tmp";
const SPARE: &str = "spare-";

pub fn dir_of(root: &Path, wal_id: i64) -> PathBuf {
    root.join(wal_id.to_string())
}

pub fn spare_name(first_position: u64) -> String {
    format!("{SPARE}{first_position:020}.wal")
}

/// The lock on a WAL's directory, held as long as this lives.
///
/// A guard against accidents on one machine; it fences nobody on another.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// The lock, or `None` while somebody else has it.
    pub fn try_take(dir: &Path) -> Result<Option<Self>, Error> {
        match Self::take(dir) {
            Err(Error::Locked { .. }) => Ok(None),
            taken => taken.map(Some),
        }
    }

    pub fn take(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Error::io("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                let pid = if pid.is_empty() { "(not yet known)".to_owned() } else { pid };
                return Err(Error::Locked { path: dir.to_owned(), pid });
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
        }
        // The pid is for people only. On a full disk the lock still holds without it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", process::id()));
        Ok(Self { _file: file })
    }
}

/// Makes the directory of a new WAL, durably, and locks it.
pub fn create(root: &Path, wal_id: i64) -> Result<(PathBuf, Lock), Error> {
    let dir = dir_of(root, wal_id);
    fs::create_dir_all(&dir).map_err(|e| Error::io("creation", &dir, e))?;
    let lock = Lock::take(&dir)?;
    if !segments(&dir)?.is_empty() {
        return Err(Error::Used { path: dir });
    }
    for path in [dir.as_path(), root] {
        sync_dir(path)?;
    }
    if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_dir(parent)?;
    }
    Ok((dir, lock))
}

/// The first positions of the segments in a WAL's directory, ascending.
pub fn segments(dir: &Path) -> Result<Vec<u64>, Error> {
    let mut found = Vec::new();
    for name in names(dir)? {
        found.extend(position_of_name(&name));
    }
    found.sort_unstable();
    Ok(found)
}

/// The ids of the WALs under `root`, ascending; none if `root` is not there.
pub fn wal_ids(root: &Path) -> Result<Vec<i64>, Error> {
    let mut ids = Vec::new();
    for name in names(root)? {
        let id = name.parse::<i64>().ok().filter(|id| *id >= 0 && id.to_string() == name);
        if let Some(id) = id.filter(|_| root.join(&name).is_dir()) {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Deletes a WAL. False if it was not there. A WAL that is in use is refused.
///
/// To be called only once its content is stored elsewhere and that fact is stored too. A WAL that
/// its owner block names a taker of is removed even under a writer that is stopped and still has
/// its lock: it can acknowledge nothing, and finds the taker's block in the file it has open.
pub fn remove(root: &Path, wal_id: i64) -> Result<bool, Error> {
    let dir = dir_of(root, wal_id);
    if !dir.is_dir() {
        return Ok(false);
    }
    let is_taken = block_in(&dir)?.is_some_and(|owner| owner.is_taker());
    let lock = if is_taken { Lock::try_take(&dir)? } else { Some(Lock::take(&dir)?) };
    let mut files = names(&dir)?;
    // The oldest go first, lock and owner last: what a crash leaves is still a WAL of that id, and
    // still says that it was taken.
    files.retain(|name| name != LOCK && name != OWNER_FILE);
    files.sort_unstable();
    for name in files {
        remove_file(&dir.join(name))?;
    }
    // A network file system keeps what is open under another name: the directory would not be empty.
    drop(lock);
    remove_file(&dir.join(LOCK))?;
    remove_file(&dir.join(OWNER_FILE))?;
    fs::remove_dir(&dir).map_err(|e| Error::io("removal", &dir, e))?;
    sync_dir(root)?;
    Ok(true)
}

/// Somebody else may have removed it: a second taker, or the file system itself.
fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("removal", path, e)),
        _ => Ok(()),
    }
}

fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let failed = |e| Error::io("listing", dir, e);
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 is none of ours.
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

pub fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| Error::io("sync", path, e))
}
