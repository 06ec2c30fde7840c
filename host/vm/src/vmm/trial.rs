//! `hull vmm --try-jail`: confines itself as a vmm does, tries what the jail forbids, and says what came of it. Tests and
//! `hull doctor` read it.

use super::confine;
use hull_platform::jail;
use hull_protocol::trial::Trial;
use std::process::ExitCode;

/// Prints a [`Trial`] as one line of JSON; succeeds if everything was refused.
pub fn try_jail() -> ExitCode {
    let jail = match confine() {
        Ok(jail) => jail,
        Err(error) => {
            eprintln!("{}", crate::text::chain(&error));
            return ExitCode::FAILURE;
        }
    };
    let (refused, allowed): (Vec<_>, Vec<_>) = jail::attempts().into_iter().partition(|attempt| attempt.refused);
    let names =
        |attempts: Vec<jail::Attempt>| attempts.iter().map(|attempt| attempt.what.to_owned()).collect::<Vec<_>>();
    let layers = jail.layers.iter().map(|layer| (*layer).to_owned()).collect();
    let trial = Trial { layers, refused: names(refused), allowed: names(allowed) };
    match serde_json::to_string(&trial) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("{error}"),
    }
    if trial.allowed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
