//! `hull image prune`.

use crate::failure::Failure;
use crate::{output, question};
use clap::Args;
use hull_engine::images::Removed;
use hull_engine::{Engine, Reference};

/// Remove the images that nobody needs.
#[derive(Debug, Args)]
pub struct Prune {
    /// Remove all images that no container has, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub fn run(self) -> Result<u8, Failure> {
        if !self.force {
            let what = if self.all { "all images without at least one container" } else { "all dangling images" };
            question::confirm(&format!("This will remove {what}."), "image prune")?;
        }
        let removed = Engine::open()?.prune_images(self.all, &|_| true)?;
        let space = hull_engine::human_bytes(removed.bytes, 4);
        output::print(&format!("{}Total reclaimed space: {space}\n", lines(&removed)))?;
        Ok(0)
    }
}

/// What was removed, as a paragraph; nothing if nothing was.
pub fn lines(removed: &Removed) -> String {
    if removed.untagged.is_empty() && removed.images.is_empty() {
        return String::new();
    }
    let names = removed.untagged.iter().map(Reference::familiar).map(|name| format!("untagged: {name}\n"));
    let images = removed.images.iter().map(|id| format!("deleted: {id}\n"));
    format!("Deleted Images:\n{}\n", names.chain(images).collect::<String>())
}
