//! Runs programs on a pseudo-terminal, as its controlling terminal, with the test as the person in front of it.

use crate::collect::Collected;
use crate::command::{Command, LIMIT};
use crate::process;
use anyhow::{Context, Result, ensure};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

/// A terminal and the program on it; the program is killed if it still runs when this is dropped.
pub struct Terminal {
    keyboard: File,
    /// Kept open, so that the settings outlive the program.
    device: File,
    screen: Collected,
    child: Child,
    before: String,
    read: usize,
}

/// The size that a terminal starts with: lines and columns.
pub const SIZE: (u16, u16) = (33, 101);

impl Terminal {
    /// Starts `command` on a new terminal of [`SIZE`].
    ///
    /// # Errors
    /// If there is no terminal to be had or the program cannot be started.
    pub fn start(command: Command) -> Result<Self> {
        let (keyboard, device) = open().context("cannot open a pseudo-terminal")?;
        set_size(&device, SIZE)?;
        let before = settings(&device)?;
        let line = command.line();
        // `setsid --ctty` replaces itself by the program, as leader of a session that this terminal controls.
        let program = command.into_inner();
        let mut inner = std::process::Command::new("setsid");
        inner.arg("--ctty").arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => inner.env(name, value),
                None => inner.env_remove(name),
            };
        }
        inner.stdin(Stdio::from(device.try_clone()?));
        inner.stdout(Stdio::from(device.try_clone()?)).stderr(Stdio::from(device.try_clone()?));
        let child = inner.spawn().with_context(|| format!("cannot start {line} with setsid (util-linux)"))?;
        let screen = Collected::from(keyboard.try_clone()?);
        Ok(Self { keyboard, device, screen, child, before, read: 0 })
    }

    /// Types.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn type_keys(&mut self, keys: &str) -> Result<()> {
        self.keyboard.write_all(keys.as_bytes()).context("cannot type")
    }

    /// Waits until the screen shows `text`, after what an earlier call waited for.
    ///
    /// # Errors
    /// If it does not come.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        self.read = self.screen.wait_for(text, self.read, LIMIT)?;
        Ok(())
    }

    /// Everything that was shown so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.so_far()).into_owned()
    }

    /// Changes the size; the kernel tells the program.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn resize(&self, size: (u16, u16)) -> Result<()> {
        set_size(&self.device, size)
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the program's end: its exit status, or 128 and the number of the signal that ended it. Requires that the
    /// terminal is as it was before the program started.
    ///
    /// # Errors
    /// If it hangs or leaves the terminal in another state.
    pub fn finish(&mut self) -> Result<i32> {
        ensure!(process::wait_for_end(self.pid(), LIMIT)?, "still runs; the screen shows {:?}", self.screen());
        let status = self.child.wait().context("cannot wait")?;
        let after = settings(&self.device)?;
        ensure!(self.before == after, "terminal not restored: was {}, is {after}", self.before);
        let by_signal = std::os::unix::process::ExitStatusExt::signal(&status);
        status.code().or(by_signal.map(|signal| 128 + signal)).context("neither code nor signal")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Does nothing once it was waited for; otherwise the test has failed already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn open() -> Result<(File, File)> {
    let keyboard: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&keyboard)?;
    unlockpt(&keyboard)?;
    let name = ptsname(&keyboard, Vec::new())?;
    let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let no_controlling_terminal = i32::try_from(OpenptFlags::NOCTTY.bits())?;
    let device = OpenOptions::new().read(true).write(true).custom_flags(no_controlling_terminal).open(path)?;
    Ok((keyboard.into(), device))
}

fn set_size(device: &File, (rows, columns): (u16, u16)) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(device, size).context("cannot set the terminal's size")
}

/// The settings in a form that can be compared and printed.
fn settings(device: &File) -> Result<String> {
    let Termios { input_modes, output_modes, control_modes, local_modes, special_codes, .. } = tcgetattr(device)?;
    Ok(format!("{input_modes:?} {output_modes:?} {control_modes:?} {local_modes:?} {special_codes:?}"))
}
