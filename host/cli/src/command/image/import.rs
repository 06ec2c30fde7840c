//! `hull import`.

use crate::failure::Failure;
use crate::output;
use crate::progress::{Bars, Direction};
use clap::Args;
use hull_engine::images::{Recipe, apply_changes};
use hull_engine::{Engine, EngineError, Platform, Reference};
use std::fs::File;
use std::io::{self, Read};

/// Make an image of a tar of files.
#[derive(Debug, Args)]
pub struct Import {
    /// Change the image's configuration, such as 'CMD ["sh"]' or 'ENV A=1'
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What is said in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Platform of the image, such as linux/amd64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// The tar, compressed or not; -: standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// The image's name
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

impl Import {
    pub fn run(self) -> Result<u8, Failure> {
        if self.file.starts_with("http://") || self.file.starts_with("https://") {
            return Err(Failure::new(format!("cannot import {}: hull imports files, and - for a pipe", self.file)));
        }
        let name = self.name.as_deref().map(Reference::parse).transpose().map_err(EngineError::from)?;
        if name.as_ref().is_some_and(|name| name.digest().is_some()) {
            return Err(Failure::new("a digest cannot be chosen: give a tag"));
        }
        let comment = self.message.unwrap_or_else(|| format!("Imported from {}", self.file));
        let mut recipe = Recipe { comment: Some(comment), platform: self.platform, ..Recipe::default() };
        apply_changes(&mut recipe.config, &self.change)?;
        let source: Box<dyn Read> = match self.file.as_str() {
            "-" => Box::new(io::stdin().lock()),
            path => Box::new(File::open(path).map_err(|error| Failure::new(format!("cannot open {path}: {error}")))?),
        };
        let image = Engine::open()?.import_image(source, recipe, name, &Bars::new(Direction::In, true))?;
        output::print_line(&image.id)?;
        Ok(0)
    }
}
