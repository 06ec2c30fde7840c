//! `hull run`.

use super::announce::{announce, is_set};
use super::attached::{self, AttachFlags};
use crate::attach::{SignalProxy, Streams};
use crate::container_flags::ContainerFlags;
use crate::failure::Failure;
use crate::output;
use clap::Args;
use hull_engine::{Boot, Engine};
use hull_state::VmDir;
use std::sync::Arc;

/// Create a container from an image and start it.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, override_usage = "hull run [OPTIONS] IMAGE [COMMAND] [ARG]...")]
pub struct Run {
    /// Leave the container in the background and print its id
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    attach: AttachFlags,
    #[command(flatten)]
    container: ContainerFlags,
}

impl Run {
    pub fn run(self) -> Result<u8, Failure> {
        let (stdin, tty, quiet) = (self.container.interactive, self.container.tty, self.container.quiet);
        let streams = Streams::new(stdin, tty, self.attach.detach_keys.clone());
        if !self.detach {
            streams.check()?;
        }
        let mode = self.attach.mode(tty);
        let source = self.container.source.clone();
        let request = self.container.request(self.detach)?;
        let own_vm = request.config.vm.name.is_none();
        let engine = Arc::new(Engine::open().map_err(Failure::running)?);
        engine.require_backend(request.config.vm.backend.as_deref()).map_err(Failure::running)?;
        let image = source.find(&engine, &request.image, quiet || is_set("HULL_QUIET")).map_err(Failure::running)?;
        if self.detach {
            let tell = |boot: &Boot, vm: &VmDir| announce(boot, vm, quiet);
            let started = engine.run(request, image, None, &tell).map_err(Failure::running)?;
            output::print_line(started.container.id().as_str())?;
            return Ok(0);
        }
        let signals = SignalProxy::start(&engine, mode);
        let tell = |boot: &Boot, vm: &VmDir| {
            announce(boot, vm, quiet);
            if own_vm {
                signals.booting(&engine, vm);
            }
        };
        let started = engine.run(request, image, Some(streams.attach.clone()), &tell).map_err(|error| {
            signals.failed();
            Failure::running(error)
        })?;
        attached::finish(&engine, started.session, &streams, &signals)
    }
}
