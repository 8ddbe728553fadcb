//! `Columns`, and what is done with them by the tables.

use automq_tables::Columns as Rows;
use pyo3::exceptions::{PyAssertionError, PyIndexError, PyValueError};
use pyo3::prelude::*;

use crate::buf::{Buf, Octets};

/// Rows of integers, delta-coded by column.
#[pyclass(frozen, module = "automq._native")]
pub struct Columns {
    pub rows: Rows,
}

impl Columns {
    pub fn of(rows: Rows) -> Self {
        Self { rows }
    }
}

#[pymethods]
impl Columns {
    #[new]
    #[pyo3(signature = (*columns))]
    fn from_python(py: Python, columns: Vec<Vec<i64>>) -> PyResult<Self> {
        py.detach(|| Rows::new(columns))
            .map(Self::of)
            .ok_or_else(|| PyValueError::new_err("columns differ in length, or are too many"))
    }

    #[staticmethod]
    fn parse(py: Python, packed: Octets) -> PyResult<Self> {
        py.detach(|| Rows::parse(packed.0))
            .map(Self::of)
            .map_err(|e| PyValueError::new_err(e.to_string()))
    }

    #[getter]
    fn packed(&self) -> Buf {
        Buf::new(self.rows.packed().clone())
    }

    #[getter]
    fn width(&self) -> usize {
        self.rows.width()
    }

    fn column(&self, index: usize) -> PyResult<Vec<i64>> {
        let column = self.rows.values().get(index);
        column.cloned().ok_or_else(|| PyIndexError::new_err(format!("no column {index}")))
    }

    fn columns(&self) -> Vec<Vec<i64>> {
        self.rows.values().to_vec()
    }

    fn __len__(&self) -> usize {
        self.rows.rows()
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.rows.values() == other.rows.values()
    }

    fn __hash__(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for value in self.rows.values().iter().flatten() {
            hash = (hash ^ *value as u64).wrapping_mul(0x0100_0000_01b3);
        }
        hash
    }

    fn __repr__(&self) -> String {
        format!("Columns({} rows x {})", self.rows.rows(), self.rows.width())
    }
}

impl Columns {
    pub fn from_kept(columns: Vec<Vec<i64>>) -> PyResult<Self> {
        let rows = Rows::new(columns).ok_or_else(|| PyValueError::new_err("uneven columns"))?;
        Ok(Self { rows })
    }
}

pub fn split<const N: usize>(columns: &Columns) -> PyResult<[&[i64]; N]> {
    let width = columns.rows.width();
    let split = columns.rows.split::<N>();
    split.ok_or_else(|| PyAssertionError::new_err(format!("{width} columns where {N} belong")))
}
