//! Listing: a walk in the order of the keys' bytes, a page at a time.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::{LocalDir, failed, info};
use crate::{Error, Info, Reply};

const PAGE_OBJECTS_MAX: usize = 10_000;

struct Walk<'a> {
    prefix: &'a str,
    after: &'a str,
    found: Vec<Info>,
}

impl LocalDir {
    pub(super) fn list(&self, prefix: &str, after: Option<String>) -> Result<Reply, Error> {
        let after = after.as_deref().unwrap_or("");
        let mut walk = Walk { prefix, after, found: Vec::new() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The deepest folder that holds all of them; the root when there is none.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = if folder.is_empty() { "." } else { folder };
        let opened = openat(&self.root, path, flags, Mode::empty());
        let walked = match opened {
            Ok(dir) if folder.is_empty() => walk.folder(&dir, ""),
            Ok(dir) => walk.folder(&dir, &format!("{folder}/")),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(e) => Err(e),
        };
        walked.map_err(|e| failed(e, &format!("list {}", self.path.join(folder).display())))?;
        let full = walk.found.len() >= PAGE_OBJECTS_MAX;
        let next = walk.found.last().filter(|_| full).map(|last| last.key.clone());
        Ok(Reply::Page { objects: walk.found, next })
    }
}

impl Walk<'_> {
    fn folder(&mut self, dir: &OwnedFd, above: &str) -> rustix::io::Result<()> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            // Names that are no key (temporary files, foreign ones) are none of ours.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let is_folder = match entry.file_type() {
                FileType::Unknown => is_folder(dir, name),
                known => known == FileType::Directory,
            };
            let key = format!("{above}{name}{}", if is_folder { "/" } else { "" });
            if self.may_hold(&key, is_folder) {
                entries.push(key);
            }
        }
        // With its '/', a folder sorts where its keys do.
        entries.sort_unstable();
        for key in entries {
            if self.found.len() >= PAGE_OBJECTS_MAX {
                break;
            }
            self.visit(dir, above, key)?;
        }
        Ok(())
    }

    fn may_hold(&self, key: &str, is_folder: bool) -> bool {
        if is_folder {
            (key.starts_with(self.prefix) || self.prefix.starts_with(key))
                && (key > self.after || self.after.starts_with(key))
        } else {
            key.starts_with(self.prefix) && key > self.after
        }
    }

    fn visit(&mut self, dir: &OwnedFd, above: &str, key: String) -> rustix::io::Result<()> {
        let name = key[above.len()..].trim_end_matches('/');
        if key.ends_with('/') {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            return match openat(dir, name, flags, Mode::empty()) {
                Ok(inner) => self.folder(&inner, &key),
                Err(Errno::NOENT) => Ok(()),
                Err(e) => Err(e),
            };
        }
        match statat(dir, name, AtFlags::empty()) {
            Ok(stat) => {
                if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                    self.found.push(info(key, &stat));
                }
                Ok(())
            }
            // Deleted while we looked.
            Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn is_folder(dir: &OwnedFd, name: &str) -> bool {
    statat(dir, name, AtFlags::empty())
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
