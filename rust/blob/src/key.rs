//! Which keys every store can take.

use crate::{Error, Kind};

const KEY_BYTES_MAX: usize = 1024;
const SEGMENT_BYTES_MAX: usize = 255;

/// Refuses a key that some store cannot hold: 1 to 1,024 bytes in segments of 1 to 255, divided by
/// `/`; a segment starts with no dot (`..`, and names that a directory store keeps to itself).
pub fn check_key(key: &str) -> Result<(), Error> {
    let bad = |why: &str| Err(Error::new(Kind::Invalid, format!("key {key:?}: {why}")));
    if key.len() > KEY_BYTES_MAX {
        return bad("longer than 1024 bytes");
    }
    if key.chars().any(char::is_control) {
        return bad("has a control character");
    }
    for segment in key.split('/') {
        if segment.is_empty() {
            return bad("has an empty segment (no leading, trailing or double '/')");
        }
        if segment.starts_with('.') {
            return bad("has a segment that starts with a dot");
        }
        if segment.len() > SEGMENT_BYTES_MAX {
            return bad("has a segment longer than 255 bytes");
        }
    }
    Ok(())
}

/// Refuses what no valid key can start with. Any string prefix of a key is fine, as is "".
pub fn check_prefix(prefix: &str) -> Result<(), Error> {
    let whole = prefix.strip_suffix('/').unwrap_or(prefix);
    if prefix.is_empty() { Ok(()) } else { check_key(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_leave_the_store_are_refused() {
        for key in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", ".tmp/x", "a\nb", "a\0b"] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        assert!(check_key(&"x".repeat(256)).is_err());
        assert!(check_key(&vec!["x".repeat(200); 6].join("/")).is_err());
    }

    #[test]
    fn unusual_keys_are_taken() {
        for key in ["a", "a/b", "a b/c+d%2F", "数据/ключ", "a..b", "-", "a\\b", "~x?*#&=@:;"]
        {
            assert_eq!(check_key(key), Ok(()), "{key:?}");
        }
    }

    #[test]
    fn a_prefix_may_end_anywhere() {
        for prefix in ["", "a", "a/", "a/b", "a/b/"] {
            assert_eq!(check_prefix(prefix), Ok(()), "{prefix:?}");
        }
        assert!(check_prefix("../").is_err());
        assert!(check_prefix("/").is_err());
    }
}
