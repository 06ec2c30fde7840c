//! A token bucket: how often, or how much, something hostile may make us do.

use std::time::Instant;

/// Allows `per_second` units a second on average and `burst` at once.
#[derive(Debug)]
pub struct Bucket {
    burst: u64,
    per_second: u64,
    left: u64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(burst: u64, per_second: u64, now: Instant) -> Self {
        Self { burst, per_second, left: burst, filled: now }
    }

    /// Takes up to `wanted` units and tells how many there were.
    pub fn take(&mut self, wanted: u64, now: Instant) -> u64 {
        self.fill(now);
        let taken = wanted.min(self.left);
        self.left -= taken;
        taken
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_nanos();
        let earned = passed.saturating_mul(self.per_second.into()) / 1_000_000_000;
        // The fill time moves only when something was earned, so that frequent calls lose no fractions.
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(u64::MAX);
            self.left = self.left.saturating_add(earned).min(self.burst);
            self.filled = now;
        }
    }
}

/// Says whether one more line may be written about something that a guest controls, and counts what was left out.
#[derive(Debug)]
pub struct LineLimit {
    bucket: Bucket,
    left_out: u64,
}

impl LineLimit {
    /// Ten lines at once, then one in ten seconds.
    pub fn new(now: Instant) -> Self {
        Self { bucket: Bucket::new(100, 1, now), left_out: 0 }
    }

    /// `Some(n)` if a line may be written now, where `n` lines were left out before it.
    pub fn allow(&mut self, now: Instant) -> Option<u64> {
        const COST: u64 = 10;
        self.bucket.fill(now);
        if self.bucket.left < COST {
            self.left_out += 1;
            return None;
        }
        self.bucket.left -= COST;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100, 10, start);
        assert_eq!(bucket.take(150, start), 100);
        assert_eq!(bucket.take(1, start), 0);
        assert_eq!(bucket.take(100, start + SECOND), 10);
        assert_eq!(bucket.take(1000, start + SECOND * 1000), 100, "no more than the burst");
    }

    #[test]
    fn frequent_calls_lose_nothing() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 10, start);
        bucket.take(10, start);
        let taken: u64 = (1..=100).map(|step| bucket.take(1, start + SECOND * step / 100)).sum();
        assert_eq!(taken, 10);
    }

    #[test]
    fn lines_left_out_are_counted() {
        let start = Instant::now();
        let mut limit = LineLimit::new(start);
        let written = (0..1000).filter(|_| limit.allow(start).is_some()).count();
        assert_eq!(written, 10);
        assert_eq!(limit.allow(start + SECOND * 10), Some(990));
    }
}
