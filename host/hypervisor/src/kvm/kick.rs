//! Making a vCPU leave the guest, without a moment at which a request could be lost.
//!
//! A request sets a flag and sends the vCPU's thread a signal. The flag alone would be missed by a thread that has just
//! looked at it and is about to enter the guest; so the signal's handler, which runs on that thread, also sets
//! `immediate_exit` in its `kvm_run`: KVM_RUN then returns with EINTR whether it was entered before or is entered after.
#![expect(unsafe_code, reason = "signals, and a flag that the kernel shares")]

use crate::Kick;
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{io, mem};

thread_local! {
    /// `immediate_exit` of the vCPU that this thread runs; null otherwise.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// The signal of the kick: the first real-time signal that the C library leaves free.
pub fn signal_number() -> i32 {
    libc::SIGRTMIN()
}

extern "C" fn on_signal(_: i32) {
    // The cell is const-initialised and has no destructor: reading it allocates nothing and is safe in a handler.
    let flag = IMMEDIATE_EXIT.get();
    if !flag.is_null() {
        // SAFETY: non-null only between `Registration::new` and its drop on this very thread, while the vCPU's
        // `kvm_run` is mapped; the kernel reads the byte, nothing else in this process refers to it.
        unsafe { ptr::write_volatile(flag, 1) };
    }
}

fn install_handler() -> io::Result<()> {
    // Kept with its error: a kick without a handler would end the process.
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        // SAFETY: all-zero is a valid `sigaction`: default flags, empty mask.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = on_signal as extern "C" fn(i32) as usize;
        // SAFETY: the action is complete, and its handler only does what a handler may.
        match unsafe { libc::sigaction(signal_number(), &raw const action, ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
        }
    });
    installed.map_err(io::Error::from_raw_os_error)
}

/// What a vCPU and those who may stop it share.
#[derive(Default)]
pub struct KickState {
    requested: AtomicBool,
    thread: Mutex<Option<libc::pthread_t>>,
}

impl KickState {
    /// Takes a request, if there is one.
    pub fn take(&self) -> bool {
        self.requested.swap(false, Ordering::AcqRel)
    }
}

impl Kick for KickState {
    fn kick(&self) {
        self.requested.store(true, Ordering::Release);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = *thread {
            // SAFETY: the thread takes itself out, under this lock, before it ends, so the id is of a live thread.
            unsafe { libc::pthread_kill(thread, signal_number()) };
        }
    }
}

/// Ties a vCPU's kick to the calling thread until it is dropped there.
pub struct Registration {
    state: std::sync::Arc<KickState>,
}

impl Registration {
    /// # Safety
    /// `immediate_exit` must stay valid until the registration is dropped, which must happen on the calling thread.
    pub unsafe fn new(state: std::sync::Arc<KickState>, immediate_exit: *mut u8) -> io::Result<Self> {
        install_handler()?;
        IMMEDIATE_EXIT.set(immediate_exit);
        // SAFETY: has no preconditions.
        let this_thread = unsafe { libc::pthread_self() };
        *state.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(this_thread);
        Ok(Self { state })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        *self.state.thread.lock().unwrap_or_else(PoisonError::into_inner) = None;
        IMMEDIATE_EXIT.set(ptr::null_mut());
    }
}
