//! The few things a WAL asks of a disk. A trait, so that tests can let them fail.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate};
use rustix::io::Errno;

use crate::direct::{Direct, Outcome};
use crate::owner::Block;

/// Where segment files live. The WAL's thread is its only user.
pub trait Disk: Send {
    /// A new, empty file; an old one of that name is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations and renames in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The owner block of a WAL, to be read again and again.
    fn open_owner(&self, path: &Path) -> io::Result<Box<dyn OwnerFile>>;
}

/// One open segment file.
pub trait DiskFile: Send {
    /// Reserves `[0, size_bytes)`, so that no write into it can lack space.
    fn allocate(&self, size_bytes: u64) -> io::Result<()>;
    /// Writes some of `pieces` (at most 1,024 of them) at `offset`; how many bytes it took.
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Makes what was written durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
    fn close(self: Box<Self>) -> io::Result<()>;
}

/// An owner block as the file system has it now.
pub trait OwnerFile: Send {
    /// Fills `block`; less than a whole one is an error.
    fn read(&self, block: &mut Block) -> io::Result<()>;
    /// Whether that goes past this machine's page cache.
    fn is_direct(&self) -> bool;
}

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(OsFile::new(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OsFile::new(OpenOptions::new().write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn open_owner(&self, path: &Path) -> io::Result<Box<dyn OwnerFile>> {
        let direct = OFlags::DIRECT.bits() as i32;
        let opened = OpenOptions::new().read(true).custom_flags(direct).open(path);
        // Some file systems refuse the flag, some only the first read.
        let tried = opened.and_then(|file| {
            let file = OsOwner { file, is_direct: true };
            file.read(&mut Block::empty()).map(|()| file)
        });
        match tried {
            Ok(file) => Ok(Box::new(file)),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
                Ok(Box::new(OsOwner { file: File::open(path)?, is_direct: false }))
            }
            Err(e) => Err(e),
        }
    }
}

struct OsOwner {
    file: File,
    is_direct: bool,
}

impl OwnerFile for OsOwner {
    fn read(&self, block: &mut Block) -> io::Result<()> {
        if !self.is_direct {
            // The next best: let go of what is cached. Not every file system promises to.
            drop_cache(&self.file)?;
        }
        self.file.read_exact_at(&mut block.0, 0)
    }

    fn is_direct(&self) -> bool {
        self.is_direct
    }
}

/// What this machine has cached of a file (and has not changed) is read from its source again.
pub fn drop_cache(file: &File) -> io::Result<()> {
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}

struct OsFile {
    file: File,
    /// None: through the page cache, as the file system or the order of the writes wants it.
    direct: RefCell<Option<Direct>>,
}

impl DiskFile for OsFile {
    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        match retry(|| fallocate(&self.file, FallocateFlags::empty(), 0, size_bytes)) {
            // NFS before 4.2 and some others: writing zeros reserves the space as well.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.fill(size_bytes),
            outcome => Ok(outcome?),
        }
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut direct = self.direct.borrow_mut();
        if let Some(writing) = &mut *direct {
            match writing.write(&self.file, pieces, offset)? {
                Outcome::Taken(count) => return Ok(count),
                Outcome::Unfit => *direct = None,
            }
        }
        Ok(retry(|| rustix::io::pwritev(&self.file, pieces, offset))?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.file)?)
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        let fd = self.file.into_raw_fd();
        // SAFETY: `fd` was owned by this file and is used by nobody after this call.
        unsafe { rustix::io::try_close(fd) }?;
        Ok(())
    }
}

impl OsFile {
    fn new(file: File) -> Self {
        let direct = RefCell::new(Direct::begin(&file));
        Self { file, direct }
    }

    fn fill(&self, size_bytes: u64) -> io::Result<()> {
        let zeros = vec![0; 1 << 20];
        let mut at = 0;
        while at < size_bytes {
            let piece = &zeros[..zeros.len().min((size_bytes - at) as usize)];
            at += self.write_at(&[IoSlice::new(piece)], at)? as u64;
        }
        Ok(())
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

/// Out of space, or over a quota.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
