//! `hull pull`.

use crate::failure::Failure;
use crate::image_source::{pulling_from, status};
use crate::output;
use crate::progress::{Bars, Direction, Teller};
use clap::Args;
use hull_engine::{Engine, Platform, Reference};

/// Bring an image from a registry.
#[derive(Debug, Args)]
pub struct Pull {
    /// Print nothing but the image's name
    #[arg(short, long)]
    quiet: bool,
    /// Platform of the image, such as linux/amd64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Name, such as debian:12 or localhost:5000/team/app@sha256:...
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
}

impl Pull {
    pub fn run(self) -> Result<u8, Failure> {
        let parse =
            |result: Result<Reference, _>| result.map_err(|error| Failure::from(hull_engine::EngineError::from(error)));
        let reference = parse(Reference::parse(&self.name))?;
        let bare = parse(Reference::parse_name(&self.name))?;
        let platform = self.platform.unwrap_or_else(Platform::of_guest);
        let engine = Engine::open()?;
        let teller = if self.quiet { Teller::Nobody } else { Teller::Output };
        if bare.tag().is_none() && bare.digest().is_none() {
            teller.tell("Using default tag: latest")?;
        }
        teller.tell(pulling_from(&reference))?;
        let pulled = engine.pull(&reference, &platform, &Bars::new(Direction::In, self.quiet))?;
        teller.tell(format_args!("Digest: {}", pulled.digest))?;
        teller.tell(format_args!("Status: {}", status(&reference, pulled.newer)))?;
        output::print_line(reference.to_string())?;
        Ok(0)
    }
}
