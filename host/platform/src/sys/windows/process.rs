//! Child processes through the standard library; nothing can be placed in them but their standard streams.

use super::unsupported;
use crate::handle::Handle;
use crate::process::{Exit, Spawn, Stdio};
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio as Stream};

#[derive(Debug)]
pub(crate) struct Child(std::process::Child);

/// There is none.
#[derive(Debug, Clone)]
pub(crate) struct Killer(Infallible);

pub(crate) fn spawn(spawn: Spawn) -> io::Result<Child> {
    if !spawn.inherit.is_empty() {
        return unsupported("handing objects to another process is");
    }
    if spawn.new_session || spawn.die_with_parent {
        return unsupported("a session of its own, or a tie to its parent, of a process is");
    }
    let [stdin, stdout, stderr] = spawn.streams.map(stream);
    let mut command = Command::new(spawn.program);
    command.args(spawn.args).stdin(stdin).stdout(stdout).stderr(stderr);
    if let Some(environment) = spawn.environment {
        command.env_clear().envs(environment);
    }
    command.spawn().map(Child)
}

fn stream(stream: Stdio) -> Stream {
    match stream {
        Stdio::Null => Stream::null(),
        Stdio::Inherit => Stream::inherit(),
        Stdio::Handle(handle) => handle.0.into(),
    }
}

impl Child {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn wait(&mut self) -> io::Result<Exit> {
        self.0.wait().map(exit)
    }

    pub(crate) fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        Ok(self.0.try_wait()?.map(exit))
    }

    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.0.kill()
    }

    pub(crate) fn killer(&self) -> io::Result<Killer> {
        unsupported("ending a process while another thread waits for it is")
    }
}

impl Killer {
    pub(crate) fn kill(&self) -> io::Result<()> {
        match self.0 {}
    }
}

fn exit(status: ExitStatus) -> Exit {
    Exit { code: status.code(), signal: None }
}

pub(crate) fn inherited(_: i32) -> io::Result<Handle> {
    unsupported("handing objects to another process is")
}

pub(crate) fn current_exe() -> io::Result<PathBuf> {
    std::env::current_exe()
}
