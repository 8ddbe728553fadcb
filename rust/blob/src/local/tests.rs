use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::*;

static NEXT: AtomicU32 = AtomicU32::new(0);

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("automq-blob-{}-{number}", std::process::id())))
    }

    fn store(&self) -> LocalDir {
        LocalDir::open(&self.0).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn body(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

fn keys(store: &LocalDir, prefix: &str) -> Vec<String> {
    match store.list(prefix, None).unwrap() {
        Reply::Page { objects, next: None } => objects.into_iter().map(|o| o.key).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_a_dead_writer_left_is_swept_and_never_listed() {
    let place = Place::new();
    let store = place.store();
    store.put("a", &body("x")).unwrap();
    fs::write(place.0.join(".tmp/1-1"), "half").unwrap();
    assert_eq!(keys(&store, ""), ["a"]);
    drop(place.store());
    assert_eq!(fs::read_dir(place.0.join(".tmp")).unwrap().count(), 0);
}

#[test]
fn a_file_that_a_living_writer_holds_is_not_swept() {
    let place = Place::new();
    let file = {
        place.store();
        fs::File::create(place.0.join(".tmp/1-1")).unwrap()
    };
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    place.store();
    assert!(place.0.join(".tmp/1-1").exists());
}

#[test]
fn one_of_many_threads_wins_a_create_and_its_bytes_stay() {
    let place = Place::new();
    let store = Arc::new(place.store());
    let writers: Vec<_> = (0..16u8)
        .map(|n| {
            let store = Arc::clone(&store);
            thread::spawn(move || store.create("race/1", &[Bytes::from(vec![n; 100])]).map(|()| n))
        })
        .collect();
    let results: Vec<_> = writers.into_iter().map(|w| w.join().unwrap()).collect();
    let winners: Vec<u8> = results.iter().filter_map(|r| r.as_ref().ok().copied()).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.get("race/1").unwrap(), vec![winners[0]; 100]);
    assert!(results.iter().filter_map(|r| r.as_ref().err()).all(|e| e.kind == Kind::AlreadyExists));
}

#[test]
fn creates_and_deletes_of_one_folder_do_not_lose_each_other() {
    let place = Place::new();
    let store = Arc::new(place.store());
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for round in 0..25 {
                    let key = format!("f/g/{n}-{round}");
                    store.create(&key, &body("x")).unwrap();
                    store.delete(&key).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(keys(&store, ""), [""; 0]);
    assert!(!place.0.join("f").exists());
}

#[test]
fn a_list_goes_on_where_its_page_ended() {
    let place = Place::new();
    let store = place.store();
    for key in ["a-b", "a/x", "a/y", "a.b", "a0", "b"] {
        store.put(key, &body("x")).unwrap();
    }
    assert_eq!(keys(&store, ""), ["a-b", "a.b", "a/x", "a/y", "a0", "b"]);
    assert_eq!(keys(&store, "a/"), ["a/x", "a/y"]);
    assert_eq!(keys(&store, "a"), ["a-b", "a.b", "a/x", "a/y", "a0"]);
    let rest = store.list("", Some("a/x".into())).unwrap();
    let Reply::Page { objects, .. } = rest else { panic!() };
    assert_eq!(objects.iter().map(|o| &o.key[..]).collect::<Vec<_>>(), ["a/y", "a0", "b"]);
}

#[test]
fn a_folder_in_the_way_of_an_object_is_refused() {
    let place = Place::new();
    let store = place.store();
    store.put("a/b", &body("x")).unwrap();
    assert_eq!(store.put("a", &body("x")).unwrap_err().kind, Kind::Denied);
    assert_eq!(store.put("a/b/c", &body("x")).unwrap_err().kind, Kind::Denied);
    assert_eq!(store.get("a").unwrap_err().kind, Kind::NotFound);
    assert_eq!(store.get("a/b/c").unwrap_err().kind, Kind::NotFound);
    store.delete("a").unwrap();
    assert_eq!(store.get("a/b").unwrap(), "x");
}

#[test]
fn a_store_whose_directory_was_moved_writes_where_it_always_did() {
    let place = Place::new();
    let store = place.store();
    let moved = Place::new();
    fs::rename(&place.0, &moved.0).unwrap();
    fs::create_dir(&place.0).unwrap();
    store.put("a", &body("x")).unwrap();
    assert!(moved.0.join("a").exists());
    assert!(!place.0.join("a").exists());
}

#[test]
fn a_store_whose_directory_is_gone_is_unavailable() {
    let place = Place::new();
    let store = place.store();
    fs::remove_dir_all(&place.0).unwrap();
    assert_eq!(store.put("a", &body("x")).unwrap_err().kind, Kind::Unavailable);
    assert_eq!(store.create("a", &body("x")).unwrap_err().kind, Kind::Unavailable);
    assert!(!place.0.exists());
}

#[test]
fn a_file_in_place_of_the_directory_is_refused_at_the_open() {
    let place = Place::new();
    fs::write(&place.0, "").unwrap();
    let why = LocalDir::open(&place.0).unwrap_err();
    assert!(why.message.contains(&*place.0.to_string_lossy()), "{why}");
    fs::remove_file(&place.0).unwrap();
}

#[test]
fn a_body_of_many_pieces_is_written_in_order() {
    let place = Place::new();
    let store = place.store();
    let pieces: Vec<Bytes> = (0..5000u32).map(|n| Bytes::from(n.to_string())).collect();
    let whole: String = (0..5000u32).map(|n| n.to_string()).collect();
    store.put("a", &pieces).unwrap();
    assert_eq!(store.get("a").unwrap(), whole);
    assert_eq!(store.get_ranges("a", &[(1, 3), (0, 1)]).unwrap(), ["12", "0"]);
    assert_eq!(store.get_ranges("a", &[(0, 1 << 20)]).unwrap_err().kind, Kind::Corrupt);
}

#[test]
fn a_large_object_is_what_was_written_whatever_its_size_and_its_parts() {
    let store_at = Place::new();
    let store = store_at.store();
    let from = write::DIRECT_FROM_BYTES;
    for size in [from - 1, from, from + 1, 3 * from + 4095, 3 * from + 4096, 2 * from + 8193] {
        let whole: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let parts: Vec<Bytes> =
            whole.chunks(size / 3 + 17).map(Bytes::copy_from_slice).chain([Bytes::new()]).collect();
        store.put("big", &parts).unwrap();
        assert_eq!(store.get("big").unwrap(), whole, "{size}");
    }
}

#[test]
fn ranges_of_a_large_object_are_read_whole_wherever_they_begin_and_end() {
    let place = Place::new();
    let store = place.store();
    let whole: Vec<u8> = (0..3_000_001u32).map(|at| (at % 251) as u8).collect();
    store.put("big", &[Bytes::from(whole.clone())]).unwrap();
    let size = whole.len() as u64;
    for ranges in [
        vec![(0, 600_000), (600_000, 1_200_011), (1_200_011, 1_200_012)],
        vec![(4_096, 204_800), (size - 200_000, size)],
        vec![(size - 131_072, size), (1, 4_095)],
        vec![(5, 9)],
    ] {
        let read = store.get_ranges("big", &ranges).unwrap();
        for ((start, end), found) in ranges.iter().zip(read) {
            assert_eq!(found, whole[*start as usize..*end as usize], "[{start}, {end})");
        }
    }
}

#[test]
fn a_large_object_that_was_cut_short_under_its_reader_is_corrupt() {
    let place = Place::new();
    let store = place.store();
    store.put("big", &[Bytes::from(vec![7; 2_000_000])]).unwrap();
    let file = fs::File::options().write(true).open(place.0.join("big")).unwrap();
    let rooms = Arc::default();
    for left in [1_000_000, 4_096 * 200] {
        file.set_len(left).unwrap();
        let reader = fs::File::open(place.0.join("big")).unwrap();
        let read = read::read_ranges(&reader, 2_000_000, &[(500_000, 1_500_000)], &rooms);
        assert_eq!(read, Ok(None));
    }
}

/// A large object, and somebody who has opened it.
fn opened(store: &LocalDir, key: &str) -> (OwnedFd, Stat) {
    store.put(key, &[Bytes::from(vec![7; 3_000_000])]).unwrap();
    store.open_object(key).unwrap()
}

#[test]
fn an_object_that_is_deleted_under_its_reader_is_not_found_and_gives_its_bytes_back() {
    let place = Place::new();
    let store = place.store();
    let (file, stat) = opened(&store, "a/big");
    store.delete("a/big").unwrap();
    let left = fstat(&file).unwrap();
    assert!((left.st_size as u64) <= 1 << 20, "{} bytes are left", left.st_size);
    let read = store.read("a/big", file, stat.st_size as u64, &[(0, stat.st_size as u64)]);
    assert_eq!(read.unwrap_err().kind, Kind::NotFound);
    assert!(!place.0.join("a").exists());
}

#[test]
fn a_file_that_has_another_name_is_whole_after_one_is_deleted() {
    let place = Place::new();
    let store = place.store();
    let (_, stat) = opened(&store, "big");
    fs::hard_link(place.0.join("big"), place.0.join("kept")).unwrap();
    store.delete("big").unwrap();
    assert_eq!(store.head("kept").unwrap().size_bytes, stat.st_size as u64);
    assert_eq!(store.get("kept").unwrap(), vec![7; 3_000_000]);
}
