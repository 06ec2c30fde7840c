//! Signals by a handler that writes their numbers to a pipe, and a thread that reads them there.
//!
//! A handler serves whatever thread a signal hits; signalfd(2) and sigwait(3) would ask every thread, those of libraries
//! too, to block what is subscribed to.
#![expect(unsafe_code, reason = "sigaction with a handler")]

use crate::signals::LinuxSignal;
use crate::sys::number;
use std::collections::HashSet;
use std::ffi::c_int;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::{ptr, thread};

pub(crate) use number::from_host;

/// Where the handler writes; never closed once it is set.
static PIPE: AtomicI32 = AtomicI32::new(-1);

static SUBSCRIBERS: Mutex<Vec<Subscriber>> = Mutex::new(Vec::new());

struct Subscriber {
    signals: HashSet<LinuxSignal>,
    sender: Sender<LinuxSignal>,
}

pub(crate) fn subscribe(signals: &[LinuxSignal]) -> io::Result<Receiver<LinuxSignal>> {
    let (sender, receiver) = channel();
    let mut subscribers = SUBSCRIBERS.lock().unwrap_or_else(PoisonError::into_inner);
    start()?;
    // Before the handlers, so that no signal finds nobody; after a failure the sender's channel is gone and the entry
    // goes with the next signal.
    subscribers.push(Subscriber { signals: signals.iter().copied().collect(), sender });
    drop(subscribers);
    for signal in signals {
        let refused = |why| io::Error::new(ErrorKind::InvalidInput, format!("{signal} {why}"));
        let host = number::to_host(*signal).ok_or_else(|| refused("does not exist on this system"))?;
        install(host, deliver).map_err(|_| refused("cannot be caught"))?;
    }
    Ok(receiver)
}

/// Makes the pipe and the thread, once; under the lock of `SUBSCRIBERS`.
fn start() -> io::Result<()> {
    if PIPE.load(Ordering::Acquire) != -1 {
        return Ok(());
    }
    let (reader, writer) = io::pipe()?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || dispatch(reader))?;
    PIPE.store(OwnedFd::from(writer).into_raw_fd(), Ordering::Release);
    Ok(())
}

/// Lives as long as the process, which never closes the pipe's other end.
fn dispatch(mut reader: PipeReader) {
    let mut byte = [0];
    while reader.read_exact(&mut byte).is_ok() {
        let Some(signal) = from_host(byte[0].into()) else { continue };
        let mut subscribers = SUBSCRIBERS.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|entry| !entry.signals.contains(&signal) || entry.sender.send(signal).is_ok());
    }
}

/// The handler. The pipe holds 64 KiB: it would block only after as many signals that nobody took.
extern "C" fn deliver(signal: c_int) {
    let saved = nix::errno::Errno::last_raw();
    let byte = u8::try_from(signal).unwrap_or(0);
    // SAFETY: write(2) is async-signal-safe and reads one byte of a live local.
    unsafe { libc::write(PIPE.load(Ordering::Acquire), (&raw const byte).cast(), 1) };
    nix::errno::Errno::set_raw(saved);
}

/// Installs a handler that makes async-signal-safe calls alone; blocked calls go on after it.
pub(crate) fn install(signal: c_int, handler: extern "C" fn(c_int)) -> io::Result<()> {
    // SAFETY: zero is a value of every field of sigaction; the handler has the signature that goes without SA_SIGINFO
    // and, as this function demands, is safe at any instant. The pointers are to a live local.
    let outcome = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, ptr::null_mut())
    };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether nobody has changed what the signal does.
pub(crate) fn is_default(signal: c_int) -> bool {
    // SAFETY: zero is a value of every field of sigaction, and sigaction(2) writes to the live local alone.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_DFL
    }
}

/// Lets the signal do what it does by default, and sends it to this process again: for the end of a handler.
pub(crate) fn resume_default(signal: c_int) {
    // SAFETY: these calls are async-signal-safe; zero as sa_sigaction is SIG_DFL, and the pointer is to a live local.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, &raw const default, ptr::null_mut());
        libc::raise(signal);
    }
}
