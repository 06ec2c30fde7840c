//! `hull create`.

use super::announce::is_set;
use crate::container_flags::ContainerFlags;
use crate::failure::Failure;
use crate::output;
use clap::Args;
use hull_engine::Engine;

/// Create a container without starting it.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, override_usage = "hull create [OPTIONS] IMAGE [COMMAND] [ARG]...")]
pub struct Create {
    #[command(flatten)]
    container: ContainerFlags,
}

impl Create {
    pub fn run(self) -> Result<u8, Failure> {
        // As Docker: attached to when it is started with --attach.
        let (source, quiet) = (self.container.source.clone(), self.container.quiet || is_set("HULL_QUIET"));
        let request = self.container.request(false)?;
        let engine = Engine::open()?;
        let image = source.find(&engine, &request.image, quiet)?;
        let container = engine.create(request, image)?;
        output::print_line(container.id().as_str())?;
        Ok(0)
    }
}
