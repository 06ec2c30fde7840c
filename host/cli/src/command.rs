//! The commands, one module each; [`announce`], [`attached`], [`documents`] and [`many`] are what some of them share.

mod announce;
mod attach;
mod attached;
mod completion;
mod create;
mod doctor;
mod documents;
mod exec;
mod image;
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
mod system;
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
    /// Print everything about containers or images as JSON
    Inspect(inspect::Inspect),
    /// List images
    Images(image::List),
    /// Bring an image from a registry
    Pull(image::Pull),
    /// Put an image into a registry
    Push(image::Push),
    /// Bring the images of an archive
    Load(image::Load),
    /// Write images as an archive
    Save(image::Save),
    /// Make an image of a tar of files
    Import(image::Import),
    /// Give an image one more name
    Tag(image::Tag),
    /// Remove images, or names of them
    Rmi(image::Remove),
    /// Print how an image was made
    History(image::History),
    /// Manage images
    Image(image::Image),
    /// Show credentials to a registry and keep them
    Login(image::Login),
    /// Forget the credentials for a registry
    Logout(image::Logout),
    /// Manage VMs
    Vm(vm::Vm),
    /// Tell what this host offers, and what is missing
    Doctor(doctor::Doctor),
    /// Tell where things are and how many there are
    Info(info::Info),
    /// See what takes room on the disk, and get it back
    System(system::System),
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
            Self::Images(command) => command.run(),
            Self::Pull(command) => command.run(),
            Self::Push(command) => command.run(),
            Self::Load(command) => command.run(),
            Self::Save(command) => command.run(),
            Self::Import(command) => command.run(),
            Self::Tag(command) => command.run(),
            Self::Rmi(command) => command.run(),
            Self::History(command) => command.run(),
            Self::Image(command) => command.run(),
            Self::Login(command) => command.run(),
            Self::Logout(command) => command.run(),
            Self::Vm(command) => command.run(),
            Self::System(command) => command.run(),
            Self::Doctor(command) => command.run(),
            Self::Info(command) => command.run(),
            Self::Version(command) => command.run(),
            Self::Completion(command) => command.run(),
        }
    }
}
