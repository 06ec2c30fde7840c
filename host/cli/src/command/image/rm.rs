//! `hull rmi`, `hull image rm`.

use crate::failure::Failure;
use crate::output;
use clap::Args;
use hull_engine::images::Removed;
use hull_engine::{Engine, EngineError, Reference};

/// Remove images, or names of them.
#[derive(Debug, Args)]
pub struct Remove {
    /// Take all names away, even if a container has the image, and do not mind one that does not exist
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Remove {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        let mut code = 0;
        // One after the other: two names may be the same image's.
        for reference in &self.images {
            match engine.remove_image(reference, self.force) {
                Ok(removed) => output::print(&lines(&removed))?,
                Err(error) => {
                    let forgiven = self.force && matches!(error, EngineError::NoSuchImage(_));
                    code |= u8::from(!forgiven);
                    Failure::from(error).message.iter().for_each(|line| output::say(line));
                }
            }
        }
        Ok(code)
    }
}

fn lines(removed: &Removed) -> String {
    let names = removed.untagged.iter().map(Reference::familiar).map(|name| format!("Untagged: {name}\n"));
    names.chain(removed.images.iter().map(|id| format!("Deleted: {id}\n"))).collect()
}
