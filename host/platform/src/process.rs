//! Child processes that get exactly the descriptors that they are meant to have.

use crate::handle::Handle;
use crate::sys;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a standard stream of a child goes.
#[derive(Debug, Default)]
pub enum Stdio {
    /// Nowhere: reads end at once, writes vanish.
    #[default]
    Null,
    /// Where this process's goes.
    Inherit,
    /// Here.
    Handle(Handle),
}

/// A program to start.
///
/// The child has the three standard streams and what [`Spawn::inherit`] places, and no other descriptor, not even one
/// that this process itself inherited unawares. Its signals have their default actions (those ignored stay ignored, but
/// `SIGPIPE`) and none is blocked. On Windows nothing can be placed, and a session or a tie to the parent is refused as
/// unsupported.
#[derive(Debug)]
#[must_use = "nothing runs before `spawn`"]
pub struct Spawn {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) streams: [Stdio; 3],
    pub(crate) inherit: Vec<(Handle, i32)>,
    pub(crate) new_session: bool,
    pub(crate) die_with_parent: bool,
    pub(crate) environment: Option<Vec<(OsString, OsString)>>,
}

impl Spawn {
    /// A program, by path, or by a name without a slash that is looked for in `PATH`; without arguments, with its
    /// standard streams going nowhere, and with this process's environment and working directory.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            streams: Default::default(),
            inherit: Vec::new(),
            new_session: false,
            die_with_parent: false,
            environment: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets the standard input.
    pub fn stdin(mut self, stream: Stdio) -> Self {
        self.streams[0] = stream;
        self
    }

    /// Sets the standard output.
    pub fn stdout(mut self, stream: Stdio) -> Self {
        self.streams[1] = stream;
        self
    }

    /// Sets the standard error.
    pub fn stderr(mut self, stream: Stdio) -> Self {
        self.streams[2] = stream;
        self
    }

    /// Places an object in the child under a descriptor number from 3 on, where [`inherited`] takes it over.
    pub fn inherit(mut self, handle: impl Into<Handle>, number: i32) -> Self {
        self.inherit.push((handle.into(), number));
        self
    }

    /// Puts the child into a session of its own (setsid(2)): it has no terminal and outlives the one of its parent.
    pub fn new_session(mut self) -> Self {
        self.new_session = true;
        self
    }

    /// Kills the child (`SIGKILL`) as soon as its parent is dead, however that died: `PR_SET_PDEATHSIG` of prctl(2),
    /// and therefore on Linux alone; elsewhere `spawn` fails as unsupported.
    ///
    /// The kernel takes the *thread* that spawns for the parent: spawn from one that lives as long as the process.
    pub fn die_with_parent(mut self) -> Self {
        self.die_with_parent = true;
        self
    }

    /// Replaces the environment.
    pub fn environment(mut self, variables: Vec<(OsString, OsString)>) -> Self {
        self.environment = Some(variables);
        self
    }

    /// Starts the program. When this returns, it has been executed.
    ///
    /// # Errors
    /// `NotFound` or `PermissionDenied` if it cannot be executed, `InvalidInput` for arguments with a NUL byte or
    /// numbers below 3 or twice the same.
    pub fn spawn(self) -> io::Result<Child> {
        self.check_numbers()?;
        sys::process::spawn(self).map(|inner| Child { inner })
    }

    fn check_numbers(&self) -> io::Result<()> {
        let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        for (index, (_, number)) in self.inherit.iter().enumerate() {
            if *number < 3 || *number > MAX_NUMBER {
                return refuse(format!("descriptor number {number} is not within 3 to {MAX_NUMBER}"));
            }
            if self.inherit[..index].iter().any(|(_, other)| other == number) {
                return refuse(format!("descriptor number {number} is given twice"));
            }
        }
        Ok(())
    }
}

/// The highest number for [`Spawn::inherit`]: everything above is free for moving descriptors out of the way.
const MAX_NUMBER: i32 = 63;

/// A process that was started here. Dropping it neither ends nor awaits the process.
#[derive(Debug)]
pub struct Child {
    inner: sys::process::Child,
}

impl Child {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// None that is expected.
    pub fn wait(&mut self) -> io::Result<Exit> {
        self.inner.wait()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// None that is expected.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        self.inner.try_wait()
    }

    /// Ends it at once; it still has to be waited for. Does nothing if it has ended.
    ///
    /// # Errors
    /// None that is expected.
    pub fn kill(&mut self) -> io::Result<()> {
        self.inner.kill()
    }

    /// A way to end it from another thread while this one waits.
    ///
    /// # Errors
    /// `Unsupported` on Windows.
    pub fn killer(&self) -> io::Result<Killer> {
        self.inner.killer().map(|inner| Killer { inner })
    }
}

/// Ends a child; see [`Child::killer`]. It never hits another process that was given the same number later.
#[derive(Debug, Clone)]
pub struct Killer {
    inner: sys::process::Killer,
}

impl Killer {
    /// Ends the child at once. Does nothing if it has ended.
    ///
    /// # Errors
    /// None that is expected.
    pub fn kill(&self) -> io::Result<()> {
        self.inner.kill()
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its exit status, if it ended by itself.
    pub code: Option<i32>,
    /// The host's number of the signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    /// Whether its exit status was zero.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit status {code}"),
            (None, Some(signal)) => match sys::signals::from_host(signal) {
                Some(name) => write!(f, "signal {signal} ({name})"),
                None => write!(f, "signal {signal}"),
            },
            (None, None) => f.write_str("unknown status"),
        }
    }
}

/// Takes over a descriptor that [`Spawn::inherit`] placed. Each can be taken once.
///
/// # Errors
/// `NotFound` if nothing was placed under this number, or it has been taken.
pub fn inherited(number: i32) -> io::Result<Handle> {
    sys::process::inherited(number)
}

/// The path of this program, for starting it again in another role.
///
/// # Errors
/// Those of finding it out.
pub fn current_exe() -> io::Result<PathBuf> {
    sys::process::current_exe()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
