//! A limit on how much passes in a time: a token bucket, kept as the one instant at which it will be full again.
//!
//! The caller asks whether anything may pass, which is so while there is as much as one unit in the bucket, lets it pass
//! whole, and charges for it afterwards, which may leave the bucket in debt: so no single thing is ever too large, and over
//! time the rate holds.
//!
//! ```text
//!   now     full_at - (burst - 1) / rate      full_at
//!    │ ◀────── pause ──────▶ │ ◀── credit ──▶ │ full
//! ```
//!
//! The clock is the caller's, so that tests need not wait.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// So much a second on average, and so much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    per_second: NonZeroU64,
    burst: NonZeroU64,
    full_at: Option<Instant>,
}

impl RateLimit {
    /// A full bucket of `burst`, which `per_second` flows into.
    pub const fn new(per_second: NonZeroU64, burst: NonZeroU64) -> Self {
        Self { per_second, burst, full_at: None }
    }

    /// Until when nothing may pass; `None` if something may now.
    pub fn pause(&self, now: Instant) -> Option<Instant> {
        let until = self.full_at?.checked_sub(self.time_for(self.burst.get() - 1))?;
        (now < until).then_some(until)
    }

    /// Takes `amount` out for what has passed.
    pub fn charge(&mut self, amount: u64, now: Instant) {
        let from = self.full_at.map_or(now, |full_at| full_at.max(now));
        self.full_at = Some(later(from, self.time_for(amount)));
    }

    /// How long `amount` takes to flow in.
    fn time_for(&self, amount: u64) -> Duration {
        let nanos = u128::from(amount) * 1_000_000_000 / u128::from(self.per_second.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// `instant + duration`, as far as the clock goes.
fn later(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: u64, burst: u64) -> RateLimit {
        RateLimit::new(NonZeroU64::new(per_second).unwrap(), NonZeroU64::new(burst).unwrap())
    }

    /// Lets things of one size pass as soon as they may, for a time; how many did.
    fn passed(limit: &mut RateLimit, size: u64, start: Instant, time: Duration) -> u64 {
        let (mut now, mut count) = (start, 0);
        loop {
            match limit.pause(now) {
                Some(until) if until > start + time => return count,
                Some(until) => {
                    assert!(until > now, "waiting leads somewhere");
                    now = until;
                    assert_eq!(limit.pause(now), None, "and does so at once");
                }
                None => {
                    limit.charge(size, now);
                    count += 1;
                }
            }
        }
    }

    #[test]
    fn the_burst_passes_at_once_and_the_rate_thereafter() {
        let start = Instant::now();
        assert_eq!(passed(&mut limit(10, 5), 1, start, Duration::ZERO), 5);
        assert_eq!(passed(&mut limit(10, 5), 1, start, Duration::from_secs(10)), 105);
    }

    #[test]
    fn a_pause_fills_the_bucket_but_no_further() {
        let start = Instant::now();
        let mut limit = limit(10, 5);
        assert_eq!(passed(&mut limit, 1, start, Duration::ZERO), 5);
        assert_eq!(passed(&mut limit, 1, start + Duration::from_millis(250), Duration::ZERO), 2);
        assert_eq!(passed(&mut limit, 1, start + Duration::from_secs(3600), Duration::ZERO), 5);
    }

    #[test]
    fn what_is_larger_than_the_burst_passes_and_is_paid_for() {
        let start = Instant::now();
        let mut limit = limit(1000, 10);
        assert_eq!(limit.pause(start), None);
        limit.charge(5000, start);
        assert_eq!(limit.pause(start), Some(start + Duration::from_millis(4991)));
        assert_eq!(limit.pause(start + Duration::from_millis(4991)), None);
    }

    #[test]
    fn no_numbers_whatever_overflow() {
        let start = Instant::now();
        for (rate, burst) in [(1, 1), (1, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
            let mut limit = limit(rate, burst);
            for amount in [0, 1, u64::MAX, u64::MAX] {
                limit.charge(amount, start);
                limit.pause(start);
            }
        }
    }
}
