//! What the end-to-end suites and the benchmarks share: they drive the built `hull` from outside, as a person would, and
//! look at the host around it (`/proc`, files, sockets).
//!
//! | module | |
//! |---|---|
//! | [`install`] | finds the program and its assets |
//! | [`command`] | runs programs with captured streams and bounded time |
//! | [`terminal`] | runs programs on a pseudo-terminal |
//! | [`sandbox`] | a state root of its own, and the check that nothing is left of it |
//! | [`container`] | a container in a sandbox, removed when dropped |
//! | [`process`] | host processes of a sandbox, from `/proc` |
//! | [`host`] | one backend, with the VM that most tests share |
//! | [`initramfs`] | guests of a test's own |
//! | [`archive`], [`registry`] | images of a test's own, and a registry for them |
//! | [`suite`] | tests times backends, skips with a reason |
//!
//! Linux only: it reads `/proc` and uses mount namespaces.

pub mod archive;
pub mod command;
pub mod container;
pub mod host;
pub mod initramfs;
pub mod install;
pub mod process;
pub mod registry;
pub mod sandbox;
pub mod suite;
pub mod terminal;

mod collect;

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// The image that every hull has.
pub const IMAGE: &str = "hull/busybox";

/// Waits until `done` says so, for things of which no event tells (another program's files and processes).
///
/// # Errors
/// That of `done`, or that `limit` has passed.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !done()? {
        if start.elapsed() > limit {
            bail!("after {limit:?} still not: {what}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
