//! `hull push`.

use crate::failure::Failure;
use crate::output;
use crate::progress::{Bars, Direction, Teller};
use clap::Args;
use hull_engine::{Engine, EngineError, Reference};

/// Put an image into a registry.
#[derive(Debug, Args)]
pub struct Push {
    /// Print nothing but the image's name
    #[arg(short, long)]
    quiet: bool,
    /// Name, which says to which registry
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

impl Push {
    pub fn run(self) -> Result<u8, Failure> {
        let reference = Reference::parse(&self.name).map_err(EngineError::from)?;
        let engine = Engine::open()?;
        let teller = if self.quiet { Teller::Nobody } else { Teller::Output };
        teller.tell(format_args!("The push refers to repository [{}]", reference.name()))?;
        let pushed = engine.push(&reference, &Bars::new(Direction::Out, self.quiet))?;
        teller.tell(format_args!("{}: digest: {} size: {}", reference.target(), pushed.digest, pushed.size))?;
        if self.quiet {
            output::print_line(reference.to_string())?;
        }
        Ok(0)
    }
}
