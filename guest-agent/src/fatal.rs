//! Last words. The agent is PID 1: when it cannot go on, the VM ends, and the host should know why.

#![expect(unsafe_code, reason = "descriptors are used from a panic hook, which owns none")]

use crate::error::failure;
use crate::report;
use hull_protocol::agent::{ErrorCode, Event, GuestFrame};
use hull_protocol::frame;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};
use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicI32, Ordering};

/// How long the host may take to read the last frame, in milliseconds.
const PATIENCE: u16 = 1000;

/// The connection for the last words of a process that panics: the control connection of the agent, or the report of a
/// child that sets a container up. -1: none.
static CONNECTION: AtomicI32 = AtomicI32::new(-1);
static IS_CHILD: AtomicI32 = AtomicI32::new(0);

/// From now on a panic is reported, to the console at least, and ends the VM.
pub fn install() {
    std::panic::set_hook(Box::new(on_panic));
}

/// From now on a panic is reported to the host as well.
pub fn report_to_host(control: &impl AsFd) {
    CONNECTION.store(control.as_fd().as_raw_fd(), Ordering::Relaxed);
}

/// In a forked child: a panic is reported to the agent, and ends the child alone.
pub fn report_to_agent(report: RawFd) {
    CONNECTION.store(report, Ordering::Relaxed);
    IS_CHILD.store(1, Ordering::Relaxed);
}

fn on_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no message");
    let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
    let message = format!("panic{place}: {text}");
    let connection = CONNECTION.load(Ordering::Relaxed);
    // SAFETY: the number was stored by a process that keeps the descriptor open as long as it lives; the borrow ends
    // with this function.
    let connection = (connection >= 0).then(|| unsafe { BorrowedFd::borrow_raw(connection) });
    if IS_CHILD.load(Ordering::Relaxed) == 0 {
        end_in_failure(connection, &message);
    }
    if let Some(report) = connection {
        report::send_failure(report, &failure(ErrorCode::Internal, message));
    }
    end_child()
}

/// Ends a child of the agent.
pub fn end_child() -> ! {
    // SAFETY: nothing of this process is needed any more; exit handlers are the agent's, not the child's.
    unsafe { libc::_exit(1) }
}

/// Tells the host and the console why, and ends the VM.
pub fn end_in_failure(control: Option<BorrowedFd<'_>>, message: &str) -> ! {
    let message = message.replace('\n', " ");
    write_to_console(&message);
    if let Some(control) = control {
        if let Ok(frame) = frame::encode(&GuestFrame::Event(Event::Fatal { message })) {
            send_all(control, &frame);
        }
        wait_for_the_host(control);
    }
    restart()
}

/// Waits, for a bounded time, until the host has read everything and closed the connection.
pub fn wait_for_the_host(control: BorrowedFd<'_>) {
    let mut scrap = [0; 256];
    if shutdown(control.as_raw_fd(), Shutdown::Write).is_err() {
        return;
    }
    while wait_until(control, PollFlags::POLLIN) {
        if !matches!(recv(control.as_raw_fd(), &mut scrap, MsgFlags::MSG_DONTWAIT), Ok(1..)) {
            return;
        }
    }
}

/// Ends the VM. There is no way back from it.
pub fn restart() -> ! {
    // Power-off without ACPI only halts the CPU; a restart is what every backend takes for the end.
    let refused: Result<Infallible, _> = reboot(RebootMode::RB_AUTOBOOT);
    write_to_console(&format!("cannot restart: {refused:?}"));
    // The end of PID 1 is a kernel panic, and `panic=-1` restarts the machine.
    std::process::abort()
}

fn send_all(control: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() && wait_until(control, PollFlags::POLLOUT) {
        match send(control.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(_) => return,
        }
    }
}

fn wait_until(control: BorrowedFd<'_>, what: PollFlags) -> bool {
    let mut polled = [PollFd::new(control, what)];
    matches!(poll(&mut polled, PollTimeout::from(PATIENCE)), Ok(1..))
}

/// One line in the kernel's log, or, where there is none, on the console that PID 1 was born with.
pub fn write_to_console(message: &str) {
    // Each write is a record of the log: the line must go in one piece. 2 is the level that `quiet` lets through.
    let line = format!("<2>hull-agent: {message}\n");
    let logged = OpenOptions::new().write(true).open("/dev/kmsg").and_then(|mut kmsg| kmsg.write_all(line.as_bytes()));
    if logged.is_err() {
        eprintln!("hull-agent: {message}");
    }
}
