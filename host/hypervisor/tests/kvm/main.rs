//! What every implementation of the fine cut must do, shown by guests of a few instructions. Backend: KVM.
//!
//! A guest is written as its bytes with their disassembly. Each test ends within half a minute or has failed.
//! Where KVM does not work, every test is skipped with the probe's reason; `HULL_REQUIRE_KVM=1` makes that a failure.
#![cfg_attr(
    all(target_os = "linux", target_arch = "x86_64"),
    expect(clippy::unwrap_used, reason = "a test that cannot go on says where")
)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod suite;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    suite::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {}
