//! Object stores: those in the network by the `object_store` crate, and a local directory of our own.
//!
//! A [`Store`] takes an [`Op`] with a token and puts the [`Completion`] on its [`Port`], whose
//! eventfd becomes readable once for all that is waiting there. Every operation is attempted
//! exactly once: whoever retries knows what a retry means, and nothing here does.
//!
//! The work runs on one runtime thread (and at most four for blocking file work), which starts with
//! the first operation. A process that forks after that must not use a store in the child.

pub mod cloud;
mod error;
mod key;
pub mod local;
mod port;
mod runtime;
mod store;

pub use error::{Error, Kind};
pub use key::{check_key, check_prefix};
pub use port::{Completion, Port};
pub use store::{Backend, Info, Op, Part, Reply, Settings, Store};
