//! The frequency of the guest's time stamp counter: under TCG, `rdtsc` reads the host's.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the counter is read by an intrinsic"))]

use std::time::{Duration, Instant};

/// The clock's own reading is exact to some 50 ns, so this long makes 25 parts in a million; the host corrects the guest's
/// clock by more than that anyway.
const INTERVAL: Duration = Duration::from_millis(2);

/// Ticks per millisecond of the counter that a guest reads. Takes two milliseconds, at the first call.
pub fn tsc_khz() -> u32 {
    static KHZ: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *KHZ.get_or_init(measure)
}

fn measure() -> u32 {
    let (start, from) = (Instant::now(), counter());
    while start.elapsed() < INTERVAL {
        std::hint::spin_loop();
    }
    let (ticks, took) = (counter().wrapping_sub(from), start.elapsed());
    let khz = u128::from(ticks) * 1_000_000 / took.as_nanos().max(1);
    u32::try_from(khz).unwrap_or(u32::MAX)
}

#[cfg(target_arch = "x86_64")]
fn counter() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction, and Linux leaves it to user space.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Elsewhere QEMU counts nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_counter_runs_at_a_frequency_that_a_cpu_can_have() {
        let khz = super::tsc_khz();
        assert!((100_000..10_000_000).contains(&khz), "{khz}");
        assert!(super::measure().abs_diff(khz) < khz / 100, "and at the same later");
    }
}
