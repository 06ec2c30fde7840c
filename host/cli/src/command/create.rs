//! `hull create`.

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
        let request = self.container.request(false)?;
        let container = Engine::open()?.create(request)?;
        output::print_line(container.id().as_str())?;
        Ok(0)
    }
}
