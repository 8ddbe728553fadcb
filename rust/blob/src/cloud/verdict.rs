//! What an answer of a store means to the caller.

use std::error::Error as StdError;

use object_store::Error as CrateError;

use super::seen::Fault;
use crate::{Error, Kind};

/// What a lost create is called where 409 says so.
const EXISTS: [&str; 2] = ["FileAlreadyExists", "BlobAlreadyExists"];
/// A 404 that speaks of no object.
const NO_BUCKET: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];

/// Of a create. Only what is certain is said: all else is `OutcomeUnknown`.
pub(super) fn create_failed(error: &CrateError) -> Error {
    match fault(error) {
        Some(fault) => Error::new(create_kind(fault), fault.to_string()),
        None => Error::new(Kind::OutcomeUnknown, last(error)),
    }
}

fn create_kind(fault: &Fault) -> Kind {
    match fault {
        Fault::Refused { status, code, .. } => match status {
            // RFC 9110 says 412; some stores answer 304.
            412 | 304 => Kind::AlreadyExists,
            // OSS and Azure: the verdict. With any other code: nobody has won yet.
            409 if EXISTS.contains(&&code[..]) => Kind::AlreadyExists,
            409 => Kind::TryAgain,
            429 => Kind::Throttled,
            // A proxy's word, or one that came after the object was written.
            408 | 500 | 502..=599 => Kind::OutcomeUnknown,
            // 501: no conditional writes here. 404: no such bucket.
            _ => refused_kind(fault),
        },
        Fault::Unsigned(_) => Kind::Denied,
        Fault::Unsent(_) | Fault::Unidentified(_) => Kind::Unavailable,
        Fault::Unanswered(_) => Kind::OutcomeUnknown,
    }
}

/// Of anything that may be repeated.
pub(super) fn failed(error: &CrateError) -> Error {
    match fault(error) {
        Some(fault @ Fault::Refused { status: 404, code, .. }) => {
            let is_bucket = NO_BUCKET.contains(&&code[..]);
            let kind = if is_bucket { Kind::NoBucket } else { Kind::NotFound };
            Error::new(kind, fault.to_string())
        }
        Some(fault @ Fault::Refused { .. }) => Error::new(refused_kind(fault), fault.to_string()),
        Some(fault @ Fault::Unsigned(_)) => Error::new(Kind::Denied, fault.to_string()),
        Some(fault) => Error::new(Kind::Unavailable, fault.to_string()),
        // One key of a deletion of many; the crate has read the answer.
        None => match error {
            CrateError::NotFound { .. } => Error::new(Kind::NotFound, last(error)),
            CrateError::PermissionDenied { .. } | CrateError::Unauthenticated { .. } => {
                Error::new(Kind::Denied, last(error))
            }
            _ => Error::new(Kind::Unavailable, last(error)),
        },
    }
}

fn refused_kind(fault: &Fault) -> Kind {
    let Fault::Refused { status, code, .. } = fault else { return Kind::Unavailable };
    match (status, &code[..]) {
        (429, _) | (_, "SlowDown" | "Throttling" | "TooManyRequests" | "ServerBusy") => {
            Kind::Throttled
        }
        // OSS: QpsLimitExceeded, DownloadTrafficRateLimitExceeded, ...
        (503, code) if code.ends_with("LimitExceeded") => Kind::Throttled,
        (404, code) if NO_BUCKET.contains(&code) => Kind::NoBucket,
        (409, _) => Kind::TryAgain,
        (416, _) => Kind::Corrupt,
        (501, _) => Kind::Denied,
        // S3 answers 400 RequestTimeout when a body comes too slowly.
        (408 | 500.., _) | (_, "RequestTimeout") => Kind::Unavailable,
        _ => Kind::Denied,
    }
}

fn fault(error: &CrateError) -> Option<&Fault> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(fault) = error.downcast_ref::<Fault>() {
            return Some(fault);
        }
        next = error.source();
    }
    None
}

/// The innermost error: no URL in it, and no header.
fn last(error: &CrateError) -> String {
    let mut error: &dyn StdError = error;
    while let Some(inner) = error.source() {
        error = inner;
    }
    error.to_string()
}
