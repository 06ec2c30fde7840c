//! `hull`: from arguments to engine calls, exit statuses and output.
//!
//! One binary, four roles: the command line, and, started by it and never by a person, `hull shim` and `hull vmm`, the
//! two processes of a VM (crate `hull-vm`).

mod args;
mod attach;
mod command;
mod container_flags;
mod failure;
mod help;
mod image_source;
mod output;
mod progress;
mod question;
mod roles;
mod table;
mod template;
mod value;

use failure::Failure;
use hull_platform::terminal;
use hull_protocol::exit;
use std::env;
use std::ffi::OsString;
use std::panic;
use std::process::ExitCode;

fn main() -> ExitCode {
    report_panics();
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    // The roles live long and must stay small: they do without the machinery of arguments.
    if let Some(role) = roles::find(&words) {
        return role.run(&words);
    }
    speak_up();
    let result = match args::parse(words) {
        Ok(Some(command)) => command.run(),
        Ok(None) => Ok(0),
        Err(failure) => Err(failure),
    };
    terminal::restore();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Failure { code, message }) => {
            message.iter().for_each(|line| output::say(line));
            ExitCode::from(code)
        }
    }
}

/// What hull's libraries warn of, a damaged image for example, the person hears.
fn speak_up() {
    struct Voice;
    impl log::Log for Voice {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.level() <= log::Level::Warn && metadata.target().starts_with("hull")
        }

        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                output::say(&record.args().to_string().replace(['\n', '\r'], " "));
            }
        }

        fn flush(&self) {}
    }
    static VOICE: Voice = Voice;
    // Nobody has set another one.
    drop(log::set_logger(&VOICE));
    log::set_max_level(log::LevelFilter::Warn);
}

/// A bug in hull is one line, whichever thread hits it, and the terminal is left as it was.
fn report_panics() {
    panic::set_hook(Box::new(|info| {
        terminal::restore();
        let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
        let payload = info.payload();
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let what = text.unwrap_or("no message").replace('\n', " ");
        output::say(&format!("internal error{place}: {what}"));
        std::process::exit(i32::from(exit::HULL));
    }));
}
