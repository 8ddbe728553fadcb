//! What can be wrong with bytes, with values and with frames.

use std::fmt;

/// Bytes that are not the message they claim to be: `path` names the field, innermost last.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    pub path: Path,
    pub why: String,
}

/// A value that the wire cannot carry in the version asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Unencodable {
    pub path: Path,
    pub why: String,
}

/// A frame whose length is negative or over the limit. Nothing was reserved for it.
#[derive(Debug, PartialEq, Eq)]
pub struct FrameTooLarge {
    pub size_bytes: i32,
    pub max_bytes: usize,
}

/// Where in a message: built from the inside out while an error travels up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<&'static str>);

impl Path {
    /// This place, seen from the struct whose field `name` contains it.
    pub(crate) fn within(mut self, name: &'static str) -> Self {
        self.0.push(name);
        self
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().rev().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl Malformed {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { path: Path::default(), why: why.into() }
    }

    pub(crate) fn within(self, name: &'static str) -> Self {
        Self { path: self.path.within(name), why: self.why }
    }
}

impl Unencodable {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { path: Path::default(), why: why.into() }
    }

    pub(crate) fn within(self, name: &'static str) -> Self {
        Self { path: self.path.within(name), why: self.why }
    }
}
