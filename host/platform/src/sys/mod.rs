//! The systems' sides of the contracts; this file alone chooses between them.
//!
//! `unix` holds what Linux and macOS share, `linux` and `macos` what each does in its own way.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::{base, event, family, jail, kin, lock, memory, number, space, wait};
#[cfg(target_os = "macos")]
pub(crate) use macos::{base, event, family, jail, kin, lock, memory, number, space, wait};
#[cfg(unix)]
pub(crate) use unix::{dirs, file, handle, lock_file, process, signals, socket, terminal};
#[cfg(windows)]
pub(crate) use windows::{
    dirs, event, file, handle, jail, lock, memory, process, signals, socket, space, terminal, wait,
};
