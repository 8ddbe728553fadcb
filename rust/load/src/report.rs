//! One line of JSON, fields in the order in which they were added.

use crate::histogram::Histogram;

#[derive(Default)]
pub struct Report(Vec<String>);

impl Report {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn count(mut self, name: &str, value: u64) -> Self {
        self.0.push(format!("\"{name}\": {value}"));
        self
    }

    pub fn number(mut self, name: &str, value: f64) -> Self {
        assert!(value.is_finite(), "{name}");
        self.0.push(format!("\"{name}\": {value:.6}"));
        self
    }

    /// `<name>_p50_us` and its like.
    pub fn latencies(self, name: &str, histogram: &Histogram) -> Self {
        self.number(&format!("{name}_mean_us"), histogram.mean_us())
            .number(&format!("{name}_p50_us"), histogram.quantile_us(0.5))
            .number(&format!("{name}_p99_us"), histogram.quantile_us(0.99))
            .number(&format!("{name}_p999_us"), histogram.quantile_us(0.999))
            .number(&format!("{name}_max_us"), histogram.max_us())
    }

    pub fn print(&self) {
        println!("{{{}}}", self.0.join(", "));
    }
}
