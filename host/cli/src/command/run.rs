//! `hull run`.

use crate::attach::{self, DetachKeys, Mode, Outcome, SignalProxy, Streams};
use crate::container_flags::ContainerFlags;
use crate::failure::Failure;
use crate::output;
use clap::Args;
use hull_engine::{Boot, Engine, Session};
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

/// How this terminal is attached.
#[derive(Debug, Args)]
pub struct AttachFlags {
    /// Keys that detach from a container with a terminal
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: DetachKeys,
    /// Pass signals on to the container, unless it has a terminal: true or false
    #[arg(long = "sig-proxy", value_name = "BOOL", default_value = "true", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, hide_default_value = true,
          hide_possible_values = true, value_parser = sig_proxy)]
    pub sig_proxy: bool,
}

fn sig_proxy(text: &str) -> Result<bool, &'static str> {
    crate::value::boolean(text).ok_or("expected true or false")
}

impl AttachFlags {
    /// What is done with signals.
    pub fn mode(&self, tty: bool) -> Mode {
        if self.sig_proxy && !tty { Mode::Proxy } else { Mode::Own }
    }
}

impl Run {
    pub fn run(self) -> Result<u8, Failure> {
        let (stdin, tty, quiet) = (self.container.interactive, self.container.tty, self.container.quiet);
        let streams = Streams::new(stdin, tty, self.attach.detach_keys.clone());
        if !self.detach {
            streams.check()?;
        }
        let mode = self.attach.mode(tty);
        let request = self.container.request(self.detach)?;
        let own_vm = request.config.vm.name.is_none();
        let engine = Arc::new(Engine::open().map_err(Failure::running)?);
        if self.detach {
            let tell = |boot: &Boot, _: &VmDir| announce(boot, quiet);
            let started = engine.run(request, None, &tell).map_err(Failure::running)?;
            output::print_line(started.container.id().as_str())?;
            return Ok(0);
        }
        let signals = SignalProxy::start(&engine, mode);
        let tell = |boot: &Boot, vm: &VmDir| {
            announce(boot, quiet);
            if own_vm {
                signals.booting(&engine, vm);
            }
        };
        let started = engine.run(request, Some(streams.attach.clone()), &tell).map_err(|error| {
            signals.failed();
            Failure::running(error)
        })?;
        finish(&engine, started.session, &streams, &signals)
    }
}

/// Carries the streams of a process that was started or attached to, and says its exit status.
pub fn finish(
    engine: &Engine,
    session: Option<Session>,
    streams: &Streams,
    signals: &SignalProxy,
) -> Result<u8, Failure> {
    let Some(session) = session else { return Ok(0) };
    match attach::carry(engine, session, streams, signals)? {
        Outcome::Ended(end) => {
            end.reason.iter().for_each(|reason| output::say(reason));
            Ok(end.code)
        }
        Outcome::Detached => {
            output::say("detached; the container goes on");
            Ok(0)
        }
    }
}

/// Says once per boot what the user has to know of it: a software CPU is slow and no security boundary. `--quiet` and
/// `HULL_QUIET` are for scripts that take every line on standard error for a fault.
pub fn announce(boot: &Boot, quiet: bool) {
    if quiet || std::env::var_os("HULL_QUIET").is_some_and(|value| !value.is_empty()) {
        return;
    }
    let slow = if boot.stock_kernel {
        "; on Debian's kernel, which boots slowly (`./x kernel` builds hull's own)"
    } else {
        ""
    };
    if boot.software {
        output::say(&format!("backend {}: a software CPU, slow and no security boundary{slow}", boot.backend));
    } else if boot.stock_kernel {
        output::say(&format!("backend {}{slow}", boot.backend));
    }
}
