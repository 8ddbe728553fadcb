//! What can go wrong, by what the caller should do about it.

use std::fmt;

/// What the caller should do, in one word each. Python has an exception for every one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such object.
    NotFound,
    /// A create lost: the key has an object. As durable as a win.
    AlreadyExists,
    /// The store could not decide between writers at once (409); nothing was applied.
    TryAgain,
    /// The store asks for fewer requests; nothing was applied.
    Throttled,
    /// The store or the way to it is broken; a create was not applied.
    Unavailable,
    /// The store understood and refused: credentials, permissions, bucket, region, name.
    Denied,
    /// There is no such bucket: the URI is wrong, or it was not made yet.
    NoBucket,
    /// The object is not what its readers were promised.
    Corrupt,
    /// A create may or may not have been applied.
    OutcomeUnknown,
    /// The caller's mistake: a key or range that no store can take.
    Invalid,
}

impl Kind {
    /// The name of the Python exception.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::TryAgain => "TryAgain",
            Self::Throttled => "Throttled",
            Self::Unavailable => "Unavailable",
            Self::Denied => "Denied",
            Self::NoBucket => "NoBucket",
            Self::Corrupt => "Corrupt",
            Self::OutcomeUnknown => "OutcomeUnknown",
            Self::Invalid => "Invalid",
        }
    }
}

/// A failed operation. The message says what happened; operation, key and store are added above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

impl std::error::Error for Error {}
