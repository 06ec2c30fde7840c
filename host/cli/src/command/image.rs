//! `hull image`, and the commands for images that have a name of their own: one module each.

mod history;
mod import;
mod load;
mod login;
mod ls;
mod prune;
mod pull;
mod push;
mod rm;
mod save;
mod tag;

pub use history::History;
pub use import::Import;
pub use load::Load;
pub use login::{Login, Logout};
pub use ls::List;
pub use prune::lines as removed_lines;
pub use pull::Pull;
pub use push::Push;
pub use rm::Remove;
pub use save::Save;
pub use tag::Tag;

use super::documents;
use crate::failure::Failure;
use clap::{Args, Subcommand};
use hull_engine::Engine;

/// Manage images.
#[derive(Debug, Args)]
pub struct Image {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// List images
    Ls(List),
    /// Print everything about images as JSON
    Inspect(Inspect),
    /// Print how an image was made
    History(History),
    /// Give an image one more name
    Tag(Tag),
    /// Remove images, or names of them
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Remove the images that nobody needs
    Prune(prune::Prune),
    /// Bring an image from a registry
    Pull(Pull),
    /// Put an image into a registry
    Push(Push),
    /// Bring the images of an archive
    Load(Load),
    /// Write images as an archive
    Save(Save),
    /// Make an image of a tar of files
    Import(Import),
}

#[derive(Debug, Args)]
struct Inspect {
    /// `json`, or a template such as '{{.Config.Cmd}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Image {
    pub fn run(self) -> Result<u8, Failure> {
        match self.command {
            ImageCommand::Ls(command) => command.run(),
            ImageCommand::Inspect(command) => command.run(),
            ImageCommand::History(command) => command.run(),
            ImageCommand::Tag(command) => command.run(),
            ImageCommand::Rm(command) => command.run(),
            ImageCommand::Prune(command) => command.run(),
            ImageCommand::Pull(command) => command.run(),
            ImageCommand::Push(command) => command.run(),
            ImageCommand::Load(command) => command.run(),
            ImageCommand::Save(command) => command.run(),
            ImageCommand::Import(command) => command.run(),
        }
    }
}

impl Inspect {
    fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        documents::print_all(&self.images, self.format.as_deref(), |reference| engine.inspect_image(reference))
    }
}
