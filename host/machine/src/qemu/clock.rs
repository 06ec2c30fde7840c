//! The frequency of the guest's time stamp counter: under TCG, `rdtsc` reads the host's.
//!
//! Checked by sleeps of 2 and 10 s in guests of one and two vCPUs: 2.001 to 2.003 and 10.001 to 10.003 s by the host's clock,
//! the console's delay included; told 1 GHz, the guest's 10 s took 4.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the counter is read by an intrinsic"))]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A good pair of readings is exact to some 50 ns, so this long makes 25 parts in a million; the host corrects the guest's
/// clock by more than that anyway.
const INTERVAL: Duration = Duration::from_millis(2);

/// How often a pair is taken for the best of them.
const TRIES: usize = 16;

/// Ticks per millisecond of the counter that a guest reads. Takes two milliseconds, at the first call.
pub fn tsc_khz() -> u32 {
    static KHZ: OnceLock<u32> = OnceLock::new();
    *KHZ.get_or_init(measure)
}

fn measure() -> u32 {
    let from = Reading::take();
    while from.at.elapsed() < INTERVAL {
        std::hint::spin_loop();
    }
    from.khz_until(&Reading::take())
}

/// The counter and the clock, read together.
#[derive(Debug, Clone, Copy)]
struct Reading {
    counter: u64,
    at: Instant,
    /// Ticks between the readings of the counter before and after that of the clock.
    uncertainty: u64,
}

impl Reading {
    /// The best of several: on a busy host this thread may be off its CPU for milliseconds between two instructions, and the
    /// guest would believe whatever came of it.
    fn take() -> Self {
        (1..TRIES).fold(Self::take_once(), |best, _| {
            let next = Self::take_once();
            if next.uncertainty < best.uncertainty { next } else { best }
        })
    }

    fn take_once() -> Self {
        let before = counter();
        let at = Instant::now();
        let uncertainty = counter().wrapping_sub(before);
        Self { counter: before.wrapping_add(uncertainty / 2), at, uncertainty }
    }

    fn khz_until(&self, later: &Self) -> u32 {
        let ticks = later.counter.wrapping_sub(self.counter);
        let took = later.at.saturating_duration_since(self.at).as_nanos().max(1);
        u32::try_from(u128::from(ticks) * 1_000_000 / took).unwrap_or(u32::MAX)
    }
}

#[cfg(target_arch = "x86_64")]
fn counter() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction, and Linux leaves it to user space.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Elsewhere QEMU counts nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequency_is_that_of_ticks_over_time() {
        let from = Reading { counter: u64::MAX, at: Instant::now(), uncertainty: 0 };
        let after = |counter, took| Reading { counter, at: from.at + took, uncertainty: 0 };
        assert_eq!(from.khz_until(&after(4_999_999, Duration::from_millis(2))), 2_500_000, "across the counter's wrap");
        assert_eq!(from.khz_until(&after(u64::MAX - 1, Duration::ZERO)), u32::MAX);
    }

    #[test]
    fn the_counter_runs_at_a_frequency_that_a_cpu_can_have() {
        let khz = tsc_khz();
        assert!((100_000..10_000_000).contains(&khz), "{khz}");
        assert!(measure().abs_diff(khz) < khz / 100, "and at the same later");
    }
}
