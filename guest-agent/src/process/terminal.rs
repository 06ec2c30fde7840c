//! The terminal of a process: a pair from the container's own devpts (pty(7)).

#![expect(unsafe_code, reason = "pseudo-terminals are handled by ioctls")]

use crate::error::{Context, Result, internal};
use crate::relay;
use hull_protocol::agent::TerminalSize;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, fstat, makedev};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

/// Both sides of a terminal.
#[derive(Debug)]
pub struct Console {
    master: OwnedFd,
    slave: OwnedFd,
    number: libc::c_uint,
}

impl Console {
    /// Makes a terminal in the devpts that is mounted on /dev/pts.
    ///
    /// # Errors
    /// The kernel's, and that something else is there.
    pub fn create(size: TerminalSize) -> Result<Self> {
        let path = "/dev/pts/ptmx";
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let master = open(path, flags, Mode::empty()).context(|| format!("cannot open the container's {path}"))?;
        let device = fstat(&master).context(|| format!("cannot look at the container's {path}"))?.st_rdev;
        // What a container has put there in its place must not be taken for a terminal.
        if device != makedev(5, 2) {
            return Err(internal(format!("the container's {path} is not the terminal multiplexer")));
        }
        let what = || "cannot make a terminal".to_owned();
        let slave = unlock_and_open(&master).context(what)?;
        let number = number(&master).context(what)?;
        relay::set_size(master.as_fd(), size).context(what)?;
        Ok(Self { master, slave, number })
    }

    /// The side that the agent gets.
    pub fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Makes it the container's console. `/dev` is the container's own.
    ///
    /// # Errors
    /// The kernel's.
    pub fn mount_on_dev_console(&self) -> Result<()> {
        let (path, slave) = ("/dev/console", format!("/dev/pts/{}", self.number));
        let what = || format!("cannot make {slave} the container's console");
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).context(what)?;
        mount(Some(slave.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).context(what)
    }

    /// Makes it the controlling terminal of the caller, who leads a session, and its standard streams.
    ///
    /// # Errors
    /// The kernel's.
    pub fn adopt(&self) -> Result<()> {
        let what = || "cannot take the terminal over".to_owned();
        // SAFETY: TIOCSCTTY takes a number (ioctl_tty(2)).
        let adopted = unsafe { libc::ioctl(self.slave.as_raw_fd(), libc::TIOCSCTTY, 0) };
        Errno::result(adopted).context(what)?;
        let installed =
            dup2_stdin(&self.slave).and_then(|()| dup2_stdout(&self.slave)).and_then(|()| dup2_stderr(&self.slave));
        installed.context(what)
    }
}

/// The slave by its master, not by a path that may lead elsewhere.
fn unlock_and_open(master: &OwnedFd) -> nix::Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int (ioctl_tty(2)), which outlives the call.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes a number.
    let slave = Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(slave) })
}

fn number(master: &OwnedFd) -> nix::Result<libc::c_uint> {
    let mut number = 0;
    // SAFETY: TIOCGPTN writes one unsigned int, which outlives the call.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) })?;
    Ok(number)
}
