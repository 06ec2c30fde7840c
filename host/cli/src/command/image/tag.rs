//! `hull tag`.

use crate::failure::Failure;
use clap::Args;
use hull_engine::Engine;

/// Give an image one more name.
#[derive(Debug, Args)]
pub struct Tag {
    /// Name or id
    #[arg(value_name = "IMAGE")]
    source: String,
    /// The new name
    #[arg(value_name = "NAME[:TAG]")]
    target: String,
}

impl Tag {
    pub fn run(self) -> Result<u8, Failure> {
        Engine::open()?.tag_image(&self.source, &self.target)?;
        Ok(0)
    }
}
