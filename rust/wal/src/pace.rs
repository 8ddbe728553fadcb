//! A token bucket of syncs. Pure: time is an argument.

use std::time::{Duration, Instant};

/// How many tokens may be saved up: a fraction of a second's worth.
const BURST_S: f64 = 0.05;

/// Says how long the next sync has to wait.
#[derive(Debug)]
pub struct Pace {
    rate_per_s: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Pace {
    /// `iops_max` syncs a second; 0 means that none ever waits.
    pub fn new(iops_max: u32, now: Instant) -> Self {
        let rate_per_s = f64::from(iops_max);
        let burst = (rate_per_s * BURST_S).max(1.0);
        Self { rate_per_s, burst, tokens: burst, at: now }
    }

    /// Zero if a sync may start now, else how long to wait.
    pub fn delay(&mut self, now: Instant) -> Duration {
        if self.rate_per_s == 0.0 {
            return Duration::ZERO;
        }
        self.refill(now);
        if self.tokens >= 1.0 {
            return Duration::ZERO;
        }
        // A little more than exact: rounding must not wake us just before the token is there.
        Duration::from_secs_f64((1.0 - self.tokens) / self.rate_per_s) + Duration::from_micros(1)
    }

    /// A sync was made. The bucket may go into debt: some syncs do not ask.
    pub fn spend(&mut self, now: Instant) {
        if self.rate_per_s > 0.0 {
            self.refill(now);
            self.tokens -= 1.0;
        }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate_per_s).min(self.burst);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_nothing_waits() {
        let now = Instant::now();
        let mut pace = Pace::new(0, now);
        for _ in 0..1000 {
            pace.spend(now);
        }
        assert_eq!(pace.delay(now), Duration::ZERO);
    }

    #[test]
    fn an_idle_disk_commits_at_once_and_a_busy_one_at_its_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(10, start);
        assert_eq!(pace.delay(start), Duration::ZERO);
        pace.spend(start);
        let wait = pace.delay(start);
        assert!(wait > Duration::from_millis(99) && wait < Duration::from_millis(101), "{wait:?}");
        assert_eq!(pace.delay(start + wait), Duration::ZERO);
    }

    #[test]
    fn over_a_long_time_the_rate_is_kept() {
        let mut now = Instant::now();
        let (start, mut pace, mut syncs) = (now, Pace::new(1000, now), 0);
        while now - start < Duration::from_secs(10) {
            now += pace.delay(now);
            pace.spend(now);
            syncs += 1;
        }
        assert!((9_990..=10_060).contains(&syncs), "{syncs}");
    }
}
