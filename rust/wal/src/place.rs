//! Which file systems only this machine writes.

use std::path::Path;

use crate::error::Error;

/// Types of file systems (statfs) on a disk, or in the memory, of one machine.
const LOCAL: [u64; 10] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x2FC1_2FC1, // zfs
    0xCA45_1A4E, // bcachefs
    0xF2F5_2010, // f2fs
    0x3153_464A, // jfs
    0x794C_7630, // overlayfs
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
];

/// Whether other machines may write into `dir`. What is not known to be local is taken for shared:
/// a reading too much costs time, one too few costs data.
///
/// Of a directory that is not there yet the nearest that is tells.
pub fn is_shared(dir: &Path) -> Result<bool, Error> {
    let mut there = std::path::absolute(dir).map_err(|e| Error::io("lookup", dir, e))?;
    while !there.exists() && there.pop() {}
    let found = rustix::fs::statfs(&there).map_err(|e| Error::io("statfs", &there, e.into()))?;
    Ok(!LOCAL.contains(&(found.f_type as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_be_local_is_shared() {
        assert!(is_shared(Path::new("/proc")).unwrap());
        assert!(!is_shared(Path::new("/dev/shm")).unwrap());
    }
}
