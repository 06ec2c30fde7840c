//! `hull completion`.

use crate::args;
use crate::failure::Failure;
use crate::output;
use clap::Args;
use clap_complete::Shell;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    pub fn run(self) -> Result<u8, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut args::grammar(), "hull", &mut script);
        output::write(&mut std::io::stdout().lock(), &script)?;
        Ok(0)
    }
}
