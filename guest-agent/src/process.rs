//! A process as a container's image and the host want it: from a forked child that is already in the container's
//! namespaces to the program.

mod capabilities;
mod init;
mod keyring;
mod limits;
mod program;
mod terminal;
mod users;

pub use capabilities::CapabilitySets;
pub use limits::{Limit, raise_hard_limits};
pub use terminal::Console;
pub use users::UserName;

use crate::document::Process;
use crate::error::{Context, Result, errno, internal, invalid, quote};
use hull_protocol::agent::{AgentError, ErrorCode};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl::{set_keepcaps, set_no_new_privs};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, chdir, fchown, getcwd, mkdir, setgroups, setresgid, setresuid};
use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use users::User;

/// The mode bits that a new process does not give to its files, if the host says nothing.
const UMASK: u32 = 0o022;

/// What the host asks of a process, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPlan {
    arguments: Vec<CString>,
    environment: Vec<CString>,
    working_directory: PathBuf,
    user: UserName,
    additional_groups: Vec<u32>,
    umask: Mode,
    capabilities: CapabilitySets,
    /// Resource limits.
    pub limits: Vec<Limit>,
    no_new_privileges: bool,
    /// Out-of-memory score adjustment, if it is to be changed.
    pub oom_score_adjustment: Option<i32>,
}

impl ProcessPlan {
    /// Checks a process object of the runtime specification. `user` is Docker's `--user`.
    ///
    /// # Errors
    /// What makes no sense, or cannot be done.
    pub fn new(process: Process, user: &str) -> Result<Self> {
        let arguments = c_strings(&process.args, "an argument")?;
        if arguments.is_empty() {
            return Err(invalid("no command is given"));
        }
        let working_directory = process.cwd;
        if !working_directory.is_absolute() {
            return Err(invalid(format!("the working directory {working_directory:?} is not absolute")));
        }
        Ok(Self {
            arguments,
            environment: c_strings(&process.env, "an environment entry")?,
            working_directory,
            user: user.parse()?,
            additional_groups: process.user.additional_gids,
            umask: Mode::from_bits_truncate(process.user.umask.unwrap_or(UMASK)),
            capabilities: CapabilitySets::new(&process.capabilities)?,
            limits: process.rlimits.iter().map(Limit::new).collect::<Result<_>>()?,
            no_new_privileges: process.no_new_privileges,
            oom_score_adjustment: process.oom_score_adj.filter(|score| *score != 0),
        })
    }
}

fn c_strings(texts: &[String], what: &str) -> Result<Vec<CString>> {
    let c_string = |text: &String| {
        CString::new(text.as_bytes()).map_err(|_| invalid(format!("{what} contains a zero byte: {}", quote(text))))
    };
    texts.iter().map(c_string).collect()
}

/// What [`ProcessPlan::become_it`] does besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The container's first process: its working directory is made if it is missing.
    First,
    /// The same, below a small init.
    FirstBelowInit,
    /// One more process.
    Further,
}

impl ProcessPlan {
    /// Turns the calling process, which is in the container and root there, into the planned one.
    ///
    /// # Errors
    /// Whatever is wrong with the plan in this container.
    pub fn become_it(&self, role: Role) -> Result<Infallible> {
        let user = users::find(&self.user, Path::new("/etc/passwd"), Path::new("/etc/group"))?;
        give_streams_to(&user)?;
        self.enter_working_directory(role)?;
        umask(self.umask);
        self.limits.iter().try_for_each(Limit::apply)?;
        keyring::join_a_new_one();
        self.drop_privileges(&user)?;
        if role == Role::FirstBelowInit {
            init::fork_below()?;
        }
        let program = program::find(&self.arguments[0], self.variable("PATH"))?;
        let error = program::execute(&program, &self.arguments, &self.environment_of(&user)?);
        Err(program::explain(&program, error))
    }

    /// Has the kernel begin to read the program from the caller's root, while the caller goes on.
    pub fn read_ahead(&self) {
        program::read_ahead(&self.arguments[0], self.variable("PATH"));
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        let values = self
            .environment
            .iter()
            .filter_map(|entry| entry.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        values.map(OsStr::from_bytes).next()
    }

    /// The environment, with `HOME` from the image's user list if it is not set.
    fn environment_of(&self, user: &User) -> Result<Vec<CString>> {
        let mut environment = self.environment.clone();
        if self.variable("HOME").is_none_or(OsStr::is_empty) {
            environment.retain(|entry| !entry.as_bytes().starts_with(b"HOME="));
            let home = [b"HOME=".as_slice(), user.home.as_slice()].concat();
            environment.push(CString::new(home).map_err(|_| internal("a home directory contains a zero byte"))?);
        }
        Ok(environment)
    }

    fn enter_working_directory(&self, role: Role) -> Result<()> {
        match chdir(&self.working_directory) {
            Err(Errno::ENOENT) if role != Role::Further => {
                self.make_working_directory()?;
                chdir(&self.working_directory)
            }
            entered => entered,
        }
        .map_err(|error| self.no_working_directory(error))?;
        // A magic link of /proc can lead out of the root file system, which an image must not.
        match getcwd() {
            Ok(inside) if inside.is_absolute() => Ok(()),
            _ => Err(self.no_working_directory(Errno::EXDEV)),
        }
    }

    /// Makes the working directory, as root's, if it is missing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn make_working_directory(&self) -> Result<()> {
        let mut made = PathBuf::new();
        for component in self.working_directory.components() {
            made.push(component);
            match mkdir(&made, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST | Errno::EROFS) => {}
                Err(error) => return Err(self.no_working_directory(error)),
            }
        }
        Ok(())
    }

    fn no_working_directory(&self, error: Errno) -> AgentError {
        let path = quote(&self.working_directory.to_string_lossy());
        not_executable(&format!("cannot enter the working directory {path}"), error)
    }

    /// What can only be done as root, then the user's identity.
    fn drop_privileges(&self, user: &User) -> Result<()> {
        let capabilities = self.capabilities.of_user(user.uid);
        capabilities.drop_bounding()?;
        set_keepcaps(true).context(|| "cannot keep capabilities".to_owned())?;
        let groups: Vec<Gid> =
            user.groups.iter().chain(&self.additional_groups).map(|gid| Gid::from_raw(*gid)).collect();
        setgroups(&groups).context(|| format!("cannot set the groups {groups:?}"))?;
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        setresgid(gid, gid, gid).context(|| format!("cannot become group {gid}"))?;
        setresuid(uid, uid, uid).context(|| format!("cannot become user {uid}"))?;
        capabilities.apply()?;
        if self.no_new_privileges {
            set_no_new_privs().context(|| "cannot set no_new_privs".to_owned())?;
        }
        Ok(())
    }
}

/// The standard streams belong to the user, who may open them again by /dev/stdout and the like.
fn give_streams_to(user: &User) -> Result<()> {
    if user.uid == 0 {
        return Ok(());
    }
    let owner = Some(Uid::from_raw(user.uid));
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        let status = nix::sys::stat::fstat(stream).context(|| "cannot look at a standard stream".to_owned())?;
        // /dev/null is everybody's. A terminal keeps its group.
        let is_null = status.st_rdev == nix::sys::stat::makedev(1, 3);
        if status.st_uid != user.uid && !is_null {
            fchown(stream, owner, None).context(|| "cannot give a standard stream to the user".to_owned())?;
        }
    }
    Ok(())
}

/// What stands in a file of the image, of which at most `limit` bytes are read; none if there is no such file.
fn read_image_file(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let what = || format!("cannot read {} of the image", path.display());
    // The image may hold anything under this name, a FIFO included.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => fs::File::from(file),
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
        Err(error) => return Err(error).context(what),
    };
    let metadata = file.metadata().context(what)?;
    if !metadata.is_file() || metadata.len() > limit {
        return Err(invalid(format!("{} of the image is not a file of at most {limit} bytes", path.display())));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, limit), &mut bytes).context(what)?;
    Ok(Some(bytes))
}

/// Says that a step failed in a way that is the image's or the user's fault.
fn not_executable(what: &str, error: Errno) -> AgentError {
    errno(ErrorCode::CommandNotExecutable, what, error)
}

#[cfg(test)]
mod tests;
