//! The commands, one module each; [`announce`], [`attached`], [`documents`] and [`many`] are what some of them share.

mod announce;
mod attach;
mod attached;
mod completion;
mod create;
mod doctor;
mod documents;
mod exec;
mod info;
mod inspect;
mod kill;
mod logs;
mod many;
mod ps;
mod rm;
mod run;
mod start;
mod stop;
mod version;
mod vm;
mod wait;

use crate::failure::Failure;
use clap::Subcommand;

/// A command with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a container from an image and start it
    Run(run::Run),
    /// Create a container without starting it
    Create(create::Create),
    /// Start stopped containers
    Start(start::Start),
    /// Stop running containers
    Stop(stop::Stop),
    /// Send a signal to running containers
    Kill(kill::Kill),
    /// Wait until containers stop and print their exit statuses
    Wait(wait::Wait),
    /// Remove containers
    Rm(rm::Rm),
    /// Run one more command in a running container
    Exec(exec::Exec),
    /// Attach this terminal to a running container
    Attach(attach::Attach),
    /// Print what a container has printed
    Logs(logs::Logs),
    /// List containers
    Ps(ps::Ps),
    /// Print everything about containers as JSON
    Inspect(inspect::Inspect),
    /// Manage VMs
    Vm(vm::Vm),
    /// Tell what this host offers, and what is missing
    Doctor(doctor::Doctor),
    /// Tell where things are and how many there are
    Info(info::Info),
    /// Print hull's version
    Version(version::Version),
    /// Print a completion script for a shell
    Completion(completion::Completion),
}

impl Command {
    /// Does it, and says the exit status.
    pub fn run(self) -> Result<u8, Failure> {
        match self {
            Self::Run(command) => command.run(),
            Self::Create(command) => command.run(),
            Self::Start(command) => command.run(),
            Self::Stop(command) => command.run(),
            Self::Kill(command) => command.run(),
            Self::Wait(command) => command.run(),
            Self::Rm(command) => command.run(),
            Self::Exec(command) => command.run(),
            Self::Attach(command) => command.run(),
            Self::Logs(command) => command.run(),
            Self::Ps(command) => command.run(),
            Self::Inspect(command) => command.run(),
            Self::Vm(command) => command.run(),
            Self::Doctor(command) => command.run(),
            Self::Info(command) => command.run(),
            Self::Version(command) => command.run(),
            Self::Completion(command) => command.run(),
        }
    }
}
