//! What can be wrong with bytes, with values and with frames.

use std::fmt;

/// Bytes that are not the message they claim to be. Boxed: on the way up it must weigh nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(Box<Complaint>);

/// A value that the wire cannot carry in the version asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Unencodable(Box<Complaint>);

#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    path: Path,
    why: String,
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
    /// Puts this place inside the struct whose field is `name`.
    fn push(&mut self, name: &'static str) {
        self.0.push(name);
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
    #[cold]
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(Box::new(Complaint { path: Path::default(), why: why.into() }))
    }

    #[cold]
    pub(crate) fn within(mut self, name: &'static str) -> Self {
        self.0.path.push(name);
        self
    }

    /// The field, as a path of names from the message down.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub fn why(&self) -> &str {
        &self.0.why
    }
}

impl Unencodable {
    #[cold]
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(Box::new(Complaint { path: Path::default(), why: why.into() }))
    }

    #[cold]
    pub(crate) fn within(mut self, name: &'static str) -> Self {
        self.0.path.push(name);
        self
    }

    /// The field, as a path of names from the message down.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub fn why(&self) -> &str {
        &self.0.why
    }
}
