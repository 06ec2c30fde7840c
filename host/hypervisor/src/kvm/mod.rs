//! KVM on x86-64 Linux: the traits of the fine cut, and the question whether it works at all ([`probe`]).
//!
//! Governed by the kernel's `Documentation/virt/kvm/api.rst`.
//!
//! Opening the device and creating a VM prove little: there are cloud machines whose /dev/kvm does both and then
//! interprets every guest instruction inside the kernel, about a thousand times too slowly for any guest to boot. So the
//! probe runs code and looks at the clock.

mod access;
mod counted_loop;
mod cpuid;
mod entry;
mod kick;
mod machine;
mod msr;
mod state;
mod system;
mod vcpu;

pub use machine::Machine;
pub use system::Kvm;
pub use vcpu::{KvmVcpu, Seed};

use crate::{HypervisorError, Speed, Unusable};
use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// An error of the kernel's while doing `action`.
fn system_error(action: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> HypervisorError {
    move |error| HypervisorError::System { action, source: io::Error::from_raw_os_error(error.errno()) }
}

const DEVICE: &str = "/dev/kvm";

/// Below this, guest code is being interpreted. Interpreting hosts do about 1 million a second; KVM on a CPU that is
/// itself emulated, the slowest real one that we know, does a hundred times as many.
const SLOWEST_REAL: u64 = 20_000_000;

/// How long an answer may take at most; only a host that neither runs the guest nor says no gets here. An interpreting
/// host needs 150 ms, a working one less, KVM on an emulated CPU 200.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// Finds out whether KVM can be used, and how fast it is, by running a loop of known length in a VM.
///
/// Takes some milliseconds. It runs on a thread of its own that is left behind if the host does not give it back, which
/// a host in order always does: the guest's loop is counted and cannot go on for ever.
///
/// # Errors
/// Why it cannot be used.
pub fn probe() -> Result<Speed, Unusable> {
    access::check(Path::new(DEVICE))?;
    let (sender, receiver) = channel();
    let measure = move || {
        // Nobody listens any more after the time limit.
        let _ = sender.send(counted_loop::instructions_per_second(SLOWEST_REAL));
    };
    let thread = thread::Builder::new().name("kvm-probe".into()).spawn(measure).map_err(|error| Unusable {
        reason: format!("{DEVICE} could not be tried: no thread ({error})"),
        remedy: None,
    })?;
    match receiver.recv_timeout(TIME_LIMIT) {
        Ok(measured) => {
            // It has sent its last word; ending takes no time.
            let _ = thread.join();
            verdict(measured)
        }
        Err(RecvTimeoutError::Disconnected) => Err(broken("the trial of it failed")),
        Err(RecvTimeoutError::Timeout) => {
            Err(broken(&format!("a short loop did not end within {} s", TIME_LIMIT.as_secs())))
        }
    }
}

fn broken(what: &str) -> Unusable {
    Unusable { reason: format!("{DEVICE} is there, but does not work: {what}"), remedy: None }
}

/// Turns the measurement into an answer.
fn verdict(measured: Result<u64, counted_loop::LoopError>) -> Result<Speed, Unusable> {
    let speed = Speed {
        instructions_per_second: measured.map_err(|error| match error.source() {
            Some(source) => broken(&format!("cannot {error} ({source})")),
            None => broken(&error.to_string()),
        })?,
    };
    if speed.instructions_per_second < SLOWEST_REAL {
        return Err(Unusable {
            reason: format!(
                "{DEVICE} is there, but it does not use the CPU's virtualization: it interprets guest code one \
                 instruction at a time ({speed}, where a real one runs a thousand million), too slow to boot a guest"
            ),
            remedy: Some(
                "nothing on this machine changes that; use one with hardware virtualization (in a cloud: a metal \
                 instance, or one with nested virtualization)"
                    .into(),
            ),
        });
    }
    Ok(speed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use counted_loop::LoopError;
    use std::time::Instant;

    #[test]
    fn an_interpreter_is_told_from_a_hypervisor() {
        let why = verdict(Ok(1_100_000)).unwrap_err();
        assert!(why.reason.contains("interprets"), "{why}");
        assert!(why.reason.contains("(1 million instructions a second"), "{why}");
        assert!(why.remedy.is_some());
        assert_eq!(verdict(Ok(150_000_000)), Ok(Speed { instructions_per_second: 150_000_000 }));
    }

    #[test]
    fn a_refusal_names_the_step_and_what_the_system_said() {
        let source = io::Error::from_raw_os_error(12);
        let why = verdict(Err(LoopError::System { action: "create a VM", source })).unwrap_err();
        assert!(why.reason.contains("cannot create a VM (Cannot allocate memory"), "{why}");
    }

    #[test]
    fn the_probe_answers_in_time_whatever_the_host_has() {
        let before = Instant::now();
        let answer = probe();
        let took = before.elapsed();
        assert!(took < TIME_LIMIT * 2, "{took:?} for {answer:?}");
    }
}
