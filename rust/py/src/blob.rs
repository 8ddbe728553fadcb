//! Binding of `automq-blob`.

use pyo3::prelude::*;

pub fn add_to(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
