//! The guest's clocks. Nobody vouches for the wall clock at boot: the host states it at the handshake, and again after
//! it slept.

use crate::error::{Context, Result, invalid};
use hull_protocol::agent::WallClock;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use std::time::Duration;

/// A smaller difference is not worth a jump of the clock.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Nanoseconds since the kernel started.
pub fn uptime_ns() -> u64 {
    let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX)
}

/// Sets the wall clock if it is off by more than [`TOLERANCE`].
///
/// # Errors
/// A time that no clock can show, or the kernel's refusal.
pub fn set(time: WallClock) -> Result<()> {
    let seconds = i64::try_from(time.seconds).ok().filter(|_| time.nanoseconds < 1_000_000_000);
    let seconds =
        seconds.ok_or_else(|| invalid(format!("{} s and {} ns is no time", time.seconds, time.nanoseconds)))?;
    let wanted = Duration::new(time.seconds, time.nanoseconds);
    let now = clock_gettime(ClockId::CLOCK_REALTIME).map(Duration::from).unwrap_or_default();
    if now.abs_diff(wanted) <= TOLERANCE {
        return Ok(());
    }
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, time.nanoseconds.into()))
        .context(|| "cannot set the clock".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_times_are_refused() {
        assert!(set(WallClock { seconds: u64::MAX, nanoseconds: 0 }).is_err());
        assert!(set(WallClock { seconds: 1, nanoseconds: 1_000_000_000 }).is_err());
    }
}
