//! Child processes by fork(2) and execve(2), by hand.
//!
//! The standard library's `Command` keeps a pipe of its own at a number that nobody chooses; a descriptor that is to be
//! placed at that number would replace it, and a failed `execve` would look like success. Here every placed descriptor
//! is first moved above all numbers that are asked for, the error pipe too.
#![expect(unsafe_code, reason = "fork, execve and taking over descriptors by number")]

use crate::handle::Handle;
use crate::process::{Exit, Spawn, Stdio};
use crate::sys::kin;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::getpid;
use std::ffi::{CString, OsStr, OsString, c_char, c_int};
use std::fs::{self, File};
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

/// Everything the child needs, laid out before fork(2): after it the child may neither allocate nor lock.
struct Plan {
    program: CString,
    /// Pointers into `_strings`, each list ended by a null pointer.
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    _strings: Vec<CString>,
    placements: Vec<Placement>,
    /// The lowest number above every one that is asked for.
    base: RawFd,
    parent: libc::pid_t,
    new_session: bool,
    die_with_parent: bool,
}

/// A descriptor, the number that it gets in the child, and where it waits in between.
struct Placement {
    from: RawFd,
    to: RawFd,
    moved: RawFd,
}

pub(crate) fn spawn(spawn: Spawn) -> io::Result<Child> {
    if spawn.die_with_parent {
        kin::can_tie_to_parent()?;
    }
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let mut plan = Plan::new(&spawn, &null)?;
    let (reader, writer) = io::pipe()?;
    let pid = fork(&mut plan, &writer)?;
    drop(writer);
    let child = Child { shared: Arc::new(Shared { pid, exit: Mutex::new(None) }) };
    match report(reader)? {
        None => Ok(child),
        Some(error) => {
            child.shared.wait()?;
            Err(error)
        }
    }
}

/// What the child reported: nothing, because execve(2) closed the pipe, or the error number that ended it.
fn report(mut reader: PipeReader) -> io::Result<Option<io::Error>> {
    let mut number = Vec::new();
    reader.read_to_end(&mut number)?;
    Ok(number.first_chunk().map(|bytes| io::Error::from_raw_os_error(i32::from_ne_bytes(*bytes))))
}

impl Plan {
    fn new(spawn: &Spawn, null: &File) -> io::Result<Self> {
        let program = find(&spawn.program)?;
        let mut strings = vec![text(spawn.program.as_os_str())?];
        for arg in &spawn.args {
            strings.push(text(arg)?);
        }
        let variables = strings.len();
        match &spawn.environment {
            Some(environment) => extend_with_variables(&mut strings, environment.iter().cloned())?,
            None => extend_with_variables(&mut strings, std::env::vars_os())?,
        }
        let placements = placements(spawn, null);
        let base = placements.iter().map(|placement| placement.to).max().unwrap_or(2).max(2) + 1;
        Ok(Self {
            program: text(program.as_os_str())?,
            argv: pointers(&strings[..variables]),
            envp: pointers(&strings[variables..]),
            _strings: strings,
            placements,
            base,
            parent: getpid().as_raw(),
            new_session: spawn.new_session,
            die_with_parent: spawn.die_with_parent,
        })
    }
}

fn placements(spawn: &Spawn, null: &File) -> Vec<Placement> {
    let streams = spawn.streams.iter().zip(0..).filter_map(|(stream, to)| match stream {
        Stdio::Null => Some((null.as_raw_fd(), to)),
        Stdio::Inherit => None,
        Stdio::Handle(handle) => Some((handle.0.as_raw_fd(), to)),
    });
    let others = spawn.inherit.iter().map(|(handle, to)| (handle.0.as_raw_fd(), *to));
    streams.chain(others).map(|(from, to)| Placement { from, to, moved: -1 }).collect()
}

fn text(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

fn extend_with_variables(
    strings: &mut Vec<CString>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> io::Result<()> {
    for (name, value) in variables {
        let mut line = name;
        line.push("=");
        line.push(value);
        strings.push(CString::new(line.into_vec())?);
    }
    Ok(())
}

/// The heap buffers of the strings stay where they are when the vector that owns the strings moves.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// Looks a bare name up in `PATH`, as a shell does.
fn find(program: &Path) -> io::Result<PathBuf> {
    if program.as_os_str().as_bytes().contains(&b'/') {
        return Ok(program.to_owned());
    }
    let executable = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(executable)
        .ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("{} is not in PATH", program.display())))
}

/// Forks with every signal blocked, so that no handler of ours runs in the child.
fn fork(plan: &mut Plan, report: &PipeWriter) -> io::Result<libc::pid_t> {
    let blocked = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    // SAFETY: in the child, `run` makes async-signal-safe calls alone, allocates nothing and never returns; nothing of
    // this process's other threads is used there.
    let outcome = match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: this is the child of fork(2).
        0 => unsafe { run(plan, report.as_raw_fd()) },
        pid => Ok(pid),
    };
    blocked.thread_set_mask()?;
    outcome
}

/// The child, from fork(2) to execve(2).
///
/// # Safety
/// To be called in a child of fork(2) alone: it replaces or ends the process.
unsafe fn run(plan: &mut Plan, report: RawFd) -> ! {
    // SAFETY: as for this function; `report` is open.
    unsafe {
        let report = libc::fcntl(report, libc::F_DUPFD_CLOEXEC, plan.base);
        let error = match prepare(plan) {
            Ok(()) => {
                libc::execve(plan.program.as_ptr(), plan.argv.as_ptr(), plan.envp.as_ptr());
                nix::errno::Errno::last_raw()
            }
            Err(error) => error,
        };
        let bytes = error.to_ne_bytes();
        libc::write(report, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(127)
    }
}

/// Makes the child what it is to be, in an order that matters: signals are reset while they are still blocked; the tie
/// to the parent comes before anything that takes time; descriptors move up before any is placed.
///
/// # Safety
/// To be called in a child of fork(2) alone.
unsafe fn prepare(plan: &mut Plan) -> Result<(), c_int> {
    // SAFETY: as for this function. Every call is async-signal-safe, and every pointer is to a live local.
    unsafe {
        reset_signals();
        if plan.new_session {
            check(libc::setsid())?;
        }
        if plan.die_with_parent {
            check(kin::tie_to_parent(plan.parent))?;
        }
        for placement in &mut plan.placements {
            placement.moved = check(libc::fcntl(placement.from, libc::F_DUPFD_CLOEXEC, plan.base))?;
        }
        kin::close_on_exec_from(3);
        for placement in &plan.placements {
            check(libc::dup2(placement.moved, placement.to))?;
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        check(libc::sigemptyset(&raw mut none))?;
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()))?;
    }
    Ok(())
}

fn check(outcome: c_int) -> Result<c_int, c_int> {
    if outcome == -1 { Err(nix::errno::Errno::last_raw()) } else { Ok(outcome) }
}

/// Caught signals get their default action, lest our handlers run between unblocking and execve(2). What is ignored
/// stays so (nohup), but `SIGPIPE`, which every program in Rust ignores for itself alone.
///
/// # Safety
/// To be called in a child of fork(2) alone: it changes the process's signal actions.
unsafe fn reset_signals() {
    // SAFETY: zero is a value of every field of sigaction, and as sa_sigaction it is SIG_DFL; the pointers are to live
    // locals. Numbers that cannot be asked about fail without effect.
    unsafe {
        for signal in 1..=kin::LAST_SIGNAL {
            let mut action: libc::sigaction = std::mem::zeroed();
            let known = libc::sigaction(signal, ptr::null(), &raw mut action) == 0;
            let ignored = action.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE;
            if known && !ignored && action.sa_sigaction != libc::SIG_DFL {
                let default: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &raw const default, ptr::null_mut());
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Child {
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
pub(crate) struct Killer {
    shared: Arc<Shared>,
}

/// The number belongs to the child until it is reaped, and it is reaped under the lock of `exit`: who holds the lock and
/// sees no exit may send signals to the number.
#[derive(Debug)]
struct Shared {
    pid: libc::pid_t,
    exit: Mutex<Option<Exit>>,
}

impl Child {
    pub(crate) fn id(&self) -> u32 {
        self.shared.pid.cast_unsigned()
    }

    pub(crate) fn wait(&mut self) -> io::Result<Exit> {
        self.shared.wait()
    }

    pub(crate) fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        self.shared.reap()
    }

    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.shared.kill()
    }

    #[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
    pub(crate) fn killer(&self) -> io::Result<Killer> {
        Ok(Killer { shared: Arc::clone(&self.shared) })
    }
}

impl Killer {
    pub(crate) fn kill(&self) -> io::Result<()> {
        self.shared.kill()
    }
}

impl Shared {
    /// Waits without reaping, so that the lock is not held meanwhile.
    fn wait(&self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.reap()? {
                return Ok(exit);
            }
            // SAFETY: zero is a value of siginfo_t, and waitid(2) writes to the live local alone.
            let outcome = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                let id = libc::id_t::from(self.pid.cast_unsigned());
                libc::waitid(libc::P_PID, id, &raw mut info, libc::WEXITED | libc::WNOWAIT)
            };
            if outcome == -1 {
                match io::Error::last_os_error() {
                    // Another thread has reaped it: `reap` knows.
                    error if error.raw_os_error() == Some(libc::ECHILD) && self.exit().is_some() => {}
                    error if error.kind() == ErrorKind::Interrupted => {}
                    error => return Err(error),
                }
            }
        }
    }

    fn reap(&self) -> io::Result<Option<Exit>> {
        let mut exit = self.exit();
        if exit.is_none() {
            let mut status = 0;
            // SAFETY: waitpid(2) writes to the live local alone.
            match unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) } {
                -1 => return Err(io::Error::last_os_error()),
                0 => {}
                _ => *exit = Some(decode(status)),
            }
        }
        Ok(*exit)
    }

    fn kill(&self) -> io::Result<()> {
        let exit = self.exit();
        if exit.is_some() {
            return Ok(());
        }
        // SAFETY: kill(2) touches no memory; the number is the child's, see `Shared`.
        match unsafe { libc::kill(self.pid, libc::SIGKILL) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    fn exit(&self) -> std::sync::MutexGuard<'_, Option<Exit>> {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decode(status: c_int) -> Exit {
    Exit {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
    }
}

/// A placed descriptor is the only kind that is not closed on exec: everything that the standard library and this crate
/// open is. So the flag tells what may be taken over, and setting it makes sure that it happens once.
pub(crate) fn inherited(number: i32) -> io::Result<Handle> {
    static TAKING: Mutex<()> = Mutex::new(());
    let _guard = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let missing = || io::Error::new(ErrorKind::NotFound, format!("descriptor {number} was not handed over"));
    if number < 3 {
        return Err(missing());
    }
    // SAFETY: the descriptor is borrowed for two questions; fcntl(2) answers EBADF if it is not open.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl(fd, FcntlArg::F_GETFD).map_err(|_| missing())?;
    if FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC) {
        return Err(missing());
    }
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: the descriptor is open and, not being closed on exec, was opened by nobody in this program; the flag now
    // set keeps a second call from taking it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) }.into())
}

pub(crate) fn current_exe() -> io::Result<PathBuf> {
    kin::current_exe()
}
