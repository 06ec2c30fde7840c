//! `hull exec`.

use super::attached;
use crate::attach::{DetachKeys, Mode, SignalProxy, Streams};
use crate::failure::Failure;
use crate::value;
use clap::Args;
use hull_engine::{Engine, EngineError, ExecConfig};
use std::path::PathBuf;
use std::sync::Arc;

/// Run one more command in a running container.
#[derive(Debug, Args)]
#[command(override_usage = "hull exec [OPTIONS] CONTAINER COMMAND [ARG]...")]
pub struct Exec {
    /// Leave the command in the background
    #[arg(short, long)]
    detach: bool,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Set an environment variable; a name alone takes this shell's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Working directory, in place of the container's
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User, and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Give the command every right within the VM
    #[arg(long)]
    privileged: bool,
    /// Keys that detach from a command with a terminal
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// The container, then the command
    #[arg(value_names = ["CONTAINER", "COMMAND"], required = true, trailing_var_arg = true, num_args = 2.., hide = true)]
    words: Vec<String>,
}

impl Exec {
    pub fn run(self) -> Result<u8, Failure> {
        let mut words = self.words.into_iter();
        let reference = words.next().unwrap_or_default();
        let streams = Streams::new(self.interactive && !self.detach, self.tty, self.detach_keys);
        let exec = ExecConfig {
            command: words.collect(),
            env: value::environment(&self.env_file, &self.env).map_err(Failure::new)?,
            working_dir: self.workdir,
            user: self.user,
            tty: self.tty,
            privileged: self.privileged,
            open_stdin: self.interactive,
        };
        streams.check()?;
        let engine = Arc::new(Engine::open()?);
        let container = engine.find(&reference)?;
        let attach = (!self.detach).then(|| streams.attach.clone());
        // As in Docker a signal ends the command line alone: the container's process is not the command's.
        let signals = SignalProxy::start(&engine, Mode::Own);
        let session = engine.exec(&container, &exec, attach).map_err(|error| match error {
            EngineError::Shim(_) => Failure::running(error),
            other => other.into(),
        })?;
        attached::finish(&engine, session, &streams, &signals)
    }
}
