//! `automq._native`: a thin binding. Each file converts, releases the GIL and maps errors; nothing else.

mod batch;
mod blob;
mod block_cache;
mod buf;
mod codec;
mod log;
mod merge;
mod object;
mod produce;
mod tables;
mod wal;
mod wal_object;

use pyo3::prelude::*;

#[pymodule]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<buf::Buf>()?;
    batch::add_to(m)?;
    blob::add_to(m)?;
    codec::add_to(m)?;
    log::add_to(m)?;
    object::add_to(m)?;
    merge::add_to(m)?;
    block_cache::add_to(m)?;
    produce::add_to(m)?;
    tables::add_to(m)?;
    wal::add_to(m)?;
    wal_object::add_to(m)
}
