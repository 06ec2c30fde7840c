//! The suite: what it holds and how it runs.

mod faults;
mod interrupts;
mod io;
mod kicks;
mod machine;
mod state;
mod vcpus;

use hull_hypervisor::kvm;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::any::Any;
use std::env;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// What the tests take where a CPU is emulated, many times over; reaching it means that something hangs.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A name and what runs.
pub type Test = (&'static str, fn());

pub fn main() -> ExitCode {
    let unusable = kvm::probe().err().map(|why| why.to_string());
    if let (Some(reason), Ok("1")) = (&unusable, env::var("HULL_REQUIRE_KVM").as_deref()) {
        eprintln!("HULL_REQUIRE_KVM is set, but {reason}");
        return ExitCode::FAILURE;
    }
    if let Some(reason) = &unusable {
        println!("every test is skipped: {reason}");
    }
    let tests = [io::TESTS, interrupts::TESTS, vcpus::TESTS, kicks::TESTS, faults::TESTS, state::TESTS].concat();
    let trials = tests.into_iter().map(|(name, test)| {
        let usable = unusable.is_none();
        Trial::ignorable_test(name, move || match usable {
            true => within_limit(test),
            false => Ok(Completion::ignored_with("KVM does not work here")),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn within_limit(test: fn()) -> Result<Completion, Failed> {
    let (ended, end) = channel();
    let thread = thread::spawn(move || {
        test();
        // Nobody listens any more after the limit.
        let _ = ended.send(());
    });
    match end.recv_timeout(LIMIT) {
        Err(RecvTimeoutError::Timeout) => Err(format!("it has not ended after {LIMIT:?}").into()),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(()) => Ok(Completion::Completed),
            Err(panic) => Err(message(&*panic).into()),
        },
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message").to_owned()
}
