//! The small init of `--init`: process 1 of the container, which reaps orphans and passes signals on.
//!
//! It is no program of its own but the forked agent, which just never executes one. The agent is not dumpable, so its
//! memory is out of reach of the container's processes though they share a user with it.

#![expect(unsafe_code, reason = "real-time signals are beyond nix's types")]

use crate::descriptors;
use crate::error::{Context, Result};
use crate::namespaces::{Child, Forked, Parent, fork};
use crate::reap;
use nix::sched::CloneFlags;
use nix::sys::prctl::set_name;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Pid, close, getpgrp, setpgid, tcsetpgrp};
use std::io::{self, IsTerminal};
use std::mem::MaybeUninit;
use std::ptr;

/// Returns in a child; the caller becomes the init, and ends with the child's status.
///
/// # Errors
/// The kernel's.
pub(super) fn fork_below() -> Result<()> {
    let what = || "cannot start the small init".to_owned();
    let everything = SigSet::all();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&everything), None).context(what)?;
    match fork(CloneFlags::empty(), Parent::Caller, None).context(what)? {
        Forked::Parent(Child { pid, .. }) => supervise(pid),
        Forked::Child => {
            // A group of its own, in the foreground, as a shell would have it: Ctrl-C is not for the init.
            setpgid(Pid::from_raw(0), Pid::from_raw(0)).context(what)?;
            if io::stdin().is_terminal() {
                tcsetpgrp(io::stdin(), getpgrp()).context(what)?;
            }
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).context(what)
        }
    }
}

fn supervise(child: Pid) -> ! {
    // What is open here is the agent's, or keeps the child's streams from ending.
    let _name = set_name(c"hull-init");
    let _closed = descriptors::close_all_but(&[]);
    for stream in 0..=2 {
        let _closed = close(stream);
    }
    loop {
        match next_signal() {
            libc::SIGCHLD => {
                if let Some(code) = reap_all(child) {
                    // SAFETY: nothing of this process is needed any more.
                    unsafe { libc::_exit(code.into()) }
                }
            }
            signal if signal > 0 => {
                // SAFETY: no memory is involved. A child that has become somebody else may refuse it.
                let _refused = unsafe { libc::kill(child.as_raw(), signal) };
            }
            _ => {}
        }
    }
}

/// The next signal that arrives; all are blocked. Not positive: the wait was disturbed.
fn next_signal() -> libc::c_int {
    let mut everything = MaybeUninit::uninit();
    // SAFETY: sigfillset initializes the set, which sigwaitinfo reads; it may write nothing where the pointer is null.
    unsafe {
        libc::sigfillset(everything.as_mut_ptr());
        libc::sigwaitinfo(everything.as_ptr(), ptr::null_mut())
    }
}

/// Reaps whatever has ended; the exit status if `child` has.
fn reap_all(child: Pid) -> Option<u8> {
    let ended: Vec<_> = std::iter::from_fn(reap::next).collect();
    ended.into_iter().find(|ended| ended.pid == child).map(|ended| ended.code)
}
