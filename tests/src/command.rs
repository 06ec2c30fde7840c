//! Runs programs with captured streams and bounded time.

use crate::collect::Collected;
use crate::process;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Far above what any command takes on a slow machine; reaching it means that something hangs.
pub const LIMIT: Duration = Duration::from_secs(60);

/// After a program's end its output must end too: nothing that it left behind may hold its streams.
const STREAMS_END: Duration = Duration::from_secs(5);

/// What hull itself says beside the container's output starts with this.
pub const NOTICE: &str = "hull: ";

/// A program that is going to be run.
pub struct Command {
    inner: std::process::Command,
    stdin: Stdin,
    limit: Duration,
}

enum Stdin {
    Null,
    Bytes(Vec<u8>),
    Open,
}

impl Command {
    /// `program` with standard input at its end.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { inner: std::process::Command::new(program), stdin: Stdin::Null, limit: LIMIT }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.inner.args(args);
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn env_remove(mut self, name: &str) -> Self {
        self.inner.env_remove(name);
        self
    }

    /// Gives it these bytes as standard input, then the end.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Keeps its standard input open; see [`Running::stdin`].
    #[must_use]
    pub fn open_stdin(mut self) -> Self {
        self.stdin = Stdin::Open;
        self
    }

    /// Another bound than [`LIMIT`].
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// If it cannot be started, hangs, or leaves something behind that holds its output.
    pub fn output(self) -> Result<Finished> {
        self.spawn()?.finish()
    }

    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(mut self) -> Result<Running> {
        let line = self.line();
        let open = !matches!(self.stdin, Stdin::Null);
        let command = &mut self.inner;
        command.stdin(if open { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {line}"))?;
        let stdout = Collected::from(child.stdout.take().context("no stdout pipe")?);
        let stderr = Collected::from(child.stderr.take().context("no stderr pipe")?);
        let mut stdin = child.stdin.take();
        if let Stdin::Bytes(bytes) = self.stdin {
            let mut pipe = stdin.take().context("no stdin pipe")?;
            // A program may end before it has read everything; what it did read shows in its output.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        Ok(Running { child, line, stdin, stdout, stderr, started, limit: self.limit, read: 0 })
    }

    /// The command as a person would type it, without quoting.
    pub fn line(&self) -> String {
        let words = std::iter::once(self.inner.get_program()).chain(self.inner.get_args());
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    }

    /// The bare command, for callers that wire the streams themselves.
    pub fn into_inner(self) -> std::process::Command {
        self.inner
    }
}

/// A program that runs; killed if it is dropped before its end.
pub struct Running {
    child: Child,
    line: String,
    /// Its standard input, if [`Command::open_stdin`] asked for it; drop it to end it.
    pub stdin: Option<ChildStdin>,
    stdout: Collected,
    stderr: Collected,
    started: Instant,
    limit: Duration,
    read: usize,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its standard output holds `text`, after what an earlier call waited for.
    ///
    /// # Errors
    /// If it ends or the time passes without.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        self.read = self.stdout.wait_for(text, self.read, self.limit).with_context(|| {
            format!("`{}` (stderr so far: {:?})", self.line, String::from_utf8_lossy(&self.stderr.so_far()))
        })?;
        Ok(())
    }

    /// What it has written to standard output so far.
    pub fn stdout_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stdout.so_far()).into_owned()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        process::signal(self.pid(), signal).with_context(|| self.line.clone())
    }

    /// Waits for its end and the end of its output.
    ///
    /// # Errors
    /// If it hangs, or leaves something behind that holds its output.
    pub fn finish(mut self) -> Result<Finished> {
        self.stdin = None;
        let left = self.limit.saturating_sub(self.started.elapsed());
        if !process::wait_for_end(self.pid(), left)? {
            let (stdout, stderr) = (self.stdout.so_far(), self.stderr.so_far());
            let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            bail!("`{}` has not ended after {:?}\nstdout: {stdout}\nstderr: {stderr}", self.line, self.limit);
        }
        let took = self.started.elapsed();
        let status = self.child.wait().with_context(|| self.line.clone())?;
        let held = || format!("something that `{}` left behind holds its output open", self.line);
        let stdout = self.stdout.whole(STREAMS_END).with_context(held)?;
        let stderr = self.stderr.whole(STREAMS_END).with_context(held)?;
        Ok(Finished { line: std::mem::take(&mut self.line), status, stdout, stderr, took })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Does nothing once it was waited for; otherwise the test has failed already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A program that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// From start to end.
    pub took: Duration,
}

impl Finished {
    /// Requires this exit status.
    ///
    /// # Errors
    /// With all that it wrote, if the status is another.
    pub fn code(self, expected: i32) -> Result<Self> {
        ensure!(self.status.code() == Some(expected), "expected exit status {expected}\n{}", self.describe());
        Ok(self)
    }

    /// Requires exit status 0.
    ///
    /// # Errors
    /// See [`Finished::code`].
    pub fn ok(self) -> Result<Self> {
        self.code(0)
    }

    /// Requires that it failed with `code` and one line that contains every one of `words`, whatever their case.
    ///
    /// # Errors
    /// If something is not so.
    pub fn refused(self, code: i32, words: &[&str]) -> Result<Self> {
        self.code(code)?.failed(words)
    }

    /// As [`Finished::refused`], whatever the exit status, where Docker's depends on which of its programs notices.
    ///
    /// # Errors
    /// If something is not so.
    pub fn failed(self, words: &[&str]) -> Result<Self> {
        let said = self.err().to_lowercase();
        ensure!(self.status.code().is_some_and(|code| code != 0), "{}", self.describe());
        ensure!(!said.contains("panicked"), "{}", self.describe());
        for word in words {
            ensure!(said.contains(&word.to_lowercase()), "expected {word:?} on stderr\n{}", self.describe());
        }
        Ok(self)
    }

    /// Standard output as text, without white space at the end.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Standard error as text, without white space at the end.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }

    /// Standard error without hull's own notices.
    pub fn err_of_container(&self) -> String {
        let text = self.err();
        text.lines().filter(|line| !line.starts_with(NOTICE)).collect::<Vec<_>>().join("\n")
    }

    /// Standard output, line by line.
    pub fn lines(&self) -> Vec<String> {
        self.out().lines().map(str::to_owned).collect()
    }

    /// Standard output as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.stdout).with_context(|| format!("not JSON\n{}", self.describe()))
    }

    /// Everything, for a message.
    pub fn describe(&self) -> String {
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("signal {signal:?}"),
        };
        format!("`{}`: {how} after {:?}\nstdout: {}\nstderr: {}", self.line, self.took, self.out(), self.err())
    }
}
