//! Crashes: a killed process, and power cuts on a disk that keeps any part of what was not synced.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, IoSlice, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use automq_wal::{Disk, DiskFile, Error, Options, OsDisk, OwnerFile, Wal};
use support::*;

const CHILD_DIR: &str = "AUTOMQ_WAL_TEST_DIR";

/// Not a test of its own: the process that gets killed. Tells each durable position it sees.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Ok(root) = std::env::var(CHILD_DIR) else { return };
    let wal = Wal::create(Path::new(&root), options()).unwrap();
    let (mut number, mut told, mut chance) = (0, 0, Chance(3));
    loop {
        for _ in 0..chance.below(20) {
            let bytes = chance.below(3000) as usize;
            if wal.append(0, 1, number, number, payload(number, bytes)).is_ok() {
                number += 1;
            }
        }
        wal.submit();
        let durable = wal.durable();
        if durable > told {
            told = durable;
            println!("durable {durable}");
            io::stdout().flush().unwrap();
        }
    }
}

#[test]
fn every_position_told_durable_is_there_after_kill_9() {
    for round in 0..4 {
        let dir = Dir::new();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let told = Arc::new(AtomicU64::new(0));
        let heard = Arc::clone(&told);
        let reader = thread::spawn(move || {
            for line in out.split(b'\n') {
                let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
                if let Some(durable) = line.strip_prefix("durable ").and_then(|n| n.parse().ok()) {
                    heard.store(durable, SeqCst);
                }
            }
        });
        wait_until(|| told.load(SeqCst) > 0);
        thread::sleep(Duration::from_millis(round * 23));
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        let durable = told.load(SeqCst);
        let (records, end) = recover(dir.path(), 0).unwrap();
        assert!(end.position >= durable, "{end:?} is below {durable}");
        for (number, record) in records.iter().enumerate() {
            let bytes = record.payload.len();
            assert_eq!(record.payload, payload(number as i64, bytes), "record {number}");
        }
    }
}

const SECTOR: usize = 512;

/// Offset and bytes of one write.
type Write = (u64, Vec<u8>);

/// A disk with a write cache. When the power fails, each sector and each rename that was not
/// synced is kept or lost by chance.
#[derive(Default)]
struct Cache {
    dead: bool,
    /// The power fails before this many more calls.
    calls_left: u64,
    next_file: u64,
    /// Unsynced writes by open file.
    writes: HashMap<u64, (PathBuf, Vec<Write>)>,
    /// Unsynced renames, oldest first.
    renames: Vec<(PathBuf, PathBuf)>,
}

#[derive(Clone, Default)]
struct Cached(Arc<Mutex<Cache>>);

struct CachedFile {
    id: u64,
    disk: Cached,
    file: Box<dyn DiskFile>,
}

impl Cached {
    fn alive<T>(&self, act: impl FnOnce(&mut Cache) -> io::Result<T>) -> io::Result<T> {
        let mut cache = self.0.lock().unwrap();
        cache.calls_left = cache.calls_left.saturating_sub(1);
        cache.dead |= cache.calls_left == 0;
        if cache.dead { Err(io::Error::from_raw_os_error(5)) } else { act(&mut cache) }
    }

    fn file(&self, path: &Path, file: Box<dyn DiskFile>) -> io::Result<Box<dyn DiskFile>> {
        self.alive(|cache| {
            cache.next_file += 1;
            let id = cache.next_file;
            cache.writes.insert(id, (path.to_owned(), Vec::new()));
            Ok(Box::new(CachedFile { id, disk: self.clone(), file }) as Box<dyn DiskFile>)
        })
    }

    fn cut_power(&self, chance: &mut Chance) {
        let mut cache = self.0.lock().unwrap();
        cache.dead = true;
        let mut files = cache.writes.drain().collect::<Vec<_>>();
        files.sort_by_key(|(id, _)| *id);
        for (_, (path, writes)) in files {
            let Ok(file) = OsDisk.open(&path) else { continue };
            for (offset, bytes) in writes {
                keep_some_sectors(file.as_ref(), offset, &bytes, chance);
            }
        }
        for (from, to) in cache.renames.drain(..).rev() {
            if chance.below(2) == 0 {
                let _ = OsDisk.rename(&to, &from);
            }
        }
    }
}

fn keep_some_sectors(file: &dyn DiskFile, offset: u64, bytes: &[u8], chance: &mut Chance) {
    let mut at = 0;
    while at < bytes.len() {
        let in_sector = SECTOR - (offset as usize + at) % SECTOR;
        let upto = bytes.len().min(at + in_sector);
        if chance.below(3) > 0 {
            file.write_at(&[IoSlice::new(&bytes[at..upto])], offset + at as u64).unwrap();
        }
        at = upto;
    }
}

impl Disk for Cached {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(path, OsDisk.create(path)?)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(path, OsDisk.open(path)?)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.alive(|cache| {
            for (path, _) in cache.writes.values_mut() {
                if path == from {
                    *path = to.to_owned();
                }
            }
            cache.renames.push((from.to_owned(), to.to_owned()));
            OsDisk.rename(from, to)
        })
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.alive(|_| OsDisk.remove(path))
    }
    fn open_owner(&self, path: &Path) -> io::Result<Box<dyn OwnerFile>> {
        OsDisk.open_owner(path)
    }
    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        self.alive(|cache| {
            cache.renames.clear();
            Ok(())
        })
    }
}

impl DiskFile for CachedFile {
    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        self.disk.alive(|_| self.file.allocate(size_bytes))
    }
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.disk.alive(|cache| {
            let bytes = pieces.iter().flat_map(|piece| piece.to_vec()).collect::<Vec<_>>();
            let taken = bytes.len();
            cache.writes.get_mut(&self.id).unwrap().1.push((offset, bytes));
            Ok(taken)
        })
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.alive(|cache| {
            for (offset, bytes) in cache.writes.get_mut(&self.id).unwrap().1.drain(..) {
                let mut at = 0;
                while at < bytes.len() {
                    let slice = [IoSlice::new(&bytes[at..])];
                    at += self.file.write_at(&slice, offset + at as u64)?;
                }
            }
            Ok(())
        })
    }
    fn close(self: Box<Self>) -> io::Result<()> {
        self.file.close()
    }
}

/// Lives a random life on a cached disk, cuts the power, and checks what is left.
fn live_and_die(seed: u64) {
    let (dir, disk, mut chance) = (Dir::new(), Cached::default(), Chance(seed * 7919 + 1));
    let wal = Wal::create_on(
        dir.path(),
        Options { capacity_bytes: 6 * SEGMENT, inflight_bytes_max: 3 * SEGMENT, ..options() },
        Box::new(disk.clone()),
    )
    .unwrap();
    let calls = if seed.is_multiple_of(2) { 10 } else { 400 };
    disk.0.lock().unwrap().calls_left = 1 + chance.below(calls);
    let (mut ends, mut sizes, mut start) = (vec![0], Vec::new(), 0);
    for _ in 0..chance.below(120) {
        for _ in 0..chance.below(6) {
            let bytes = if chance.below(8) == 0 { 30_000 } else { 1500 };
            let (number, bytes) = (sizes.len() as i64, chance.below(bytes) as usize);
            if let Ok(end) = wal.append(0, 1, number, number, payload(number, bytes)) {
                ends.push(end);
                sizes.push(bytes);
            }
        }
        wal.submit();
        if chance.below(3) == 0 {
            wait_until(|| wal.durable() == *ends.last().unwrap() || wal.ended());
        }
        if chance.below(4) == 0 {
            let durable = wal.durable();
            let upto = ends.partition_point(|end| *end <= durable);
            start = start.max(ends[chance.below(upto as u64) as usize]);
            wal.trim(start).unwrap();
        }
    }
    disk.cut_power(&mut chance);
    crash(&wal);
    let durable = wal.durable();
    // A process that another test starts holds our lock from its fork to its exec.
    let read = || loop {
        match recover(dir.path(), start) {
            Err(Error::Locked { .. }) => thread::sleep(Duration::from_millis(1)),
            read => return read,
        }
    };
    let (records, end) = read().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    assert!(end.position >= durable, "seed {seed}: lost {}..{durable}", end.position);
    let first = ends.iter().position(|end| *end == start).unwrap();
    for (at, record) in records.iter().enumerate() {
        let number = first + at;
        assert_eq!(record.base_offset, number as i64, "seed {seed}");
        assert_eq!(record.payload, payload(number as i64, sizes[number]), "seed {seed}");
        assert_eq!(record.end_position, ends[number + 1], "seed {seed}");
    }
}

#[test]
fn after_a_power_cut_everything_durable_is_there_and_nothing_is_called_damage() {
    for seed in 0..120 {
        live_and_die(seed);
    }
}
