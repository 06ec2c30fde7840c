//! Containers on a real kernel: the agent runs as a process of its own, and the test plays the host, over Unix sockets in
//! the place of vsock.
//!
//! As root on any Linux with overlayfs, EROFS and loop devices, or (see `assets`) inside a hull guest, where the disks
//! are the real windows. What a machine lacks is printed, and its tests are skipped.

#![cfg_attr(target_os = "linux", expect(clippy::unwrap_used, reason = "a test fails by panicking"))]

#[cfg(target_os = "linux")]
mod agent_process;
#[cfg(target_os = "linux")]
mod assets;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod runner;
#[cfg(target_os = "linux")]
mod spec;
#[cfg(target_os = "linux")]
mod suites;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    match agent_process::asked_for() {
        Some(environment) => agent_process::run(&environment),
        None => runner::run(&suites::all()),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: the agent is for Linux");
}
