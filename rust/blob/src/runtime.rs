//! The one runtime thread of the process.

use std::sync::{Mutex, PoisonError};
use std::{future, io, process, thread};

use tokio::runtime::{Builder, Handle};

use crate::{Error, Kind};

/// Threads for blocking file work (and name look-ups). A disk gains little from more.
const BLOCKING_THREADS_MAX: usize = 4;

static RUNTIME: Mutex<Option<(u32, Handle)>> = Mutex::new(None);

/// The runtime, started when first asked for. Refuses in a child forked after that: threads do not
/// survive a fork, and the child would wait for ever.
pub(crate) fn handle() -> Result<Handle, Error> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    match &*runtime {
        Some((pid, handle)) if *pid == process::id() => Ok(handle.clone()),
        Some(_) => {
            let why = "this process was forked after its parent used a store: spawn it instead";
            Err(Error::new(Kind::Invalid, why))
        }
        None => {
            let handle = start().map_err(|why| {
                Error::new(Kind::Unavailable, format!("cannot start the runtime thread: {why}"))
            })?;
            *runtime = Some((process::id(), handle.clone()));
            Ok(handle)
        }
    }
}

fn start() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("automq-blob-file")
        .build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name("automq-blob".into()).spawn(move || {
        runtime.block_on(future::pending::<()>());
    })?;
    Ok(handle)
}
