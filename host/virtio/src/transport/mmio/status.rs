//! The device status field as a state machine (virtio 1.2 §2.1, §3.1.1).
//!
//! | step of §3.1.1 | status before | bit that the driver adds |
//! |---|---|---|
//! | 2 "Set the ACKNOWLEDGE status bit" | 0 | `ACKNOWLEDGE` |
//! | 3 "Set the DRIVER status bit" | `ACKNOWLEDGE` | `DRIVER` |
//! | 5 "Set the FEATURES_OK status bit" | both | `FEATURES_OK`, which stays clear if the features cannot be accepted (6) |
//! | 8 "Set the DRIVER_OK status bit" | the three | `DRIVER_OK` |
//! | "If any of these steps go irrecoverably wrong" | any | `FAILED` |
//!
//! Writing 0 resets the device from any state (§2.1.2, §4.2.2.1). "The driver MUST NOT clear a device status bit" (§2.1.1):
//! a write that does, or that skips a step, is ignored.

pub(super) const ACKNOWLEDGE: u32 = 1;
pub(super) const DRIVER: u32 = 2;
pub(super) const DRIVER_OK: u32 = 4;
pub(super) const FEATURES_OK: u32 = 8;
pub(super) const NEEDS_RESET: u32 = 64;
pub(super) const FAILED: u32 = 128;

/// What a write to the status register does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Reset,
    To(u32),
    Ignored,
}

/// The steps of §3.1.1, `FAILED` left out: status before, bit added.
const STEPS: [(u32, u32); 4] = [
    (0, ACKNOWLEDGE),
    (ACKNOWLEDGE, DRIVER),
    (ACKNOWLEDGE | DRIVER, FEATURES_OK),
    (ACKNOWLEDGE | DRIVER | FEATURES_OK, DRIVER_OK),
];

/// What becomes of `status` when the driver writes `value`. `features_acceptable`: the driver's features are a subset of
/// the device's that the device can work with.
pub(super) fn next(status: u32, value: u32, features_acceptable: bool) -> Change {
    if value == 0 {
        return Change::Reset;
    }
    // The driver reads NEEDS_RESET and may write it back with what it adds.
    let value = value & !NEEDS_RESET;
    let added = value & !status;
    if status & FAILED != 0 || value & status != status {
        return Change::Ignored;
    }
    match added {
        0 => Change::To(status),
        FAILED => Change::To(status | FAILED),
        FEATURES_OK if !features_acceptable => Change::Ignored,
        bit if STEPS.contains(&(status, bit)) => Change::To(status | bit),
        _ => Change::Ignored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_goes_step_by_step() {
        for (before, bit) in STEPS {
            assert_eq!(next(before, before | bit, true), Change::To(before | bit));
        }
    }

    #[test]
    fn every_other_write_is_a_reset_a_failure_or_ignored() {
        for before in 0..=0xff_u32 {
            assert_eq!(next(before, 0, true), Change::Reset);
            for value in 1..=0xff_u32 {
                let step = STEPS.contains(&(before, value & !NEEDS_RESET & !before)) && value & before == before;
                match next(before, value, true) {
                    Change::Reset => panic!("{before:#x} {value:#x}"),
                    Change::To(after) => {
                        assert!(step || after == before || after == before | FAILED, "{before:#x} {value:#x}");
                        assert_eq!(after & before, before, "no bit is lost: {before:#x} {value:#x}");
                    }
                    Change::Ignored => {}
                }
            }
        }
    }

    #[test]
    fn features_that_cannot_be_accepted_leave_the_bit_clear() {
        let before = ACKNOWLEDGE | DRIVER;
        assert_eq!(next(before, before | FEATURES_OK, false), Change::Ignored);
        assert_eq!(next(before, before | FEATURES_OK | DRIVER_OK, true), Change::Ignored);
        assert_eq!(next(before, before | FAILED, true), Change::To(before | FAILED));
    }
}
