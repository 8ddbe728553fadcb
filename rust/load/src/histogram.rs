//! Durations in buckets that are 1/64 wide, relative to what they hold: 1.6 % at most off.

const SUB_BITS: u32 = 6;
const SUB_BUCKETS: u64 = 1 << SUB_BITS;
const BUCKETS: usize = ((64 - SUB_BITS as usize) + 1) << SUB_BITS;

pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum_ns: u128,
    max_ns: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, sum_ns: 0, max_ns: 0 }
    }

    pub fn record(&mut self, ns: u64) {
        self.counts[bucket_of(ns)] += 1;
        self.count += 1;
        self.sum_ns += u128::from(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max_us(&self) -> f64 {
        self.max_ns as f64 / 1e3
    }

    pub fn mean_us(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum_ns as f64 / self.count as f64 / 1e3 }
    }

    /// What `share` of all durations do not exceed, in microseconds; 0 when there are none.
    pub fn quantile_us(&self, share: f64) -> f64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle_of(bucket).min(self.max_ns as f64) / 1e3;
            }
        }
        0.0
    }

    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

/// Below 64 a bucket per value; above, 64 buckets per power of two.
fn bucket_of(ns: u64) -> usize {
    if ns < SUB_BUCKETS {
        return ns as usize;
    }
    let shift = 63 - ns.leading_zeros() - SUB_BITS;
    (((shift as u64 + 1) << SUB_BITS) + ((ns >> shift) - SUB_BUCKETS)) as usize
}

fn middle_of(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < SUB_BUCKETS {
        return bucket as f64;
    }
    let shift = (bucket >> SUB_BITS) - 1;
    let low = (SUB_BUCKETS + (bucket & (SUB_BUCKETS - 1))) << shift;
    low as f64 + (1u64 << shift) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_within_one_part_in_64_of_its_bucket() {
        for shift in 0..63 {
            for ns in [1u64 << shift, (1 << shift) + 1, (1u64 << shift) * 3 / 2] {
                let off = (middle_of(bucket_of(ns)) - ns as f64).abs() / ns as f64;
                assert!(off <= 1.0 / 64.0, "{ns} is off by {off}");
            }
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_count_from_below() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|us| histogram.record(us * 1000));
        assert!((histogram.quantile_us(0.5) - 500.0).abs() < 10.0);
        assert!((histogram.quantile_us(0.99) - 990.0).abs() < 16.0);
        assert!((histogram.quantile_us(1.0) - 1000.0).abs() < 0.1);
        assert!((histogram.mean_us() - 500.5).abs() < 1e-6);
        assert_eq!(histogram.count(), 1000);
    }

    #[test]
    fn an_empty_one_says_zero() {
        assert_eq!(Histogram::new().quantile_us(0.99), 0.0);
        assert_eq!(Histogram::new().mean_us(), 0.0);
    }
}
