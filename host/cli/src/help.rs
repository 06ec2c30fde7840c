//! `hull --help`: the commands by what they are for.

use std::fmt::Write;

/// The groups; every command is in one.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Containers", &["run", "create", "start", "stop", "kill", "wait", "rm"]),
    ("Looking in", &["exec", "attach", "logs", "ps", "inspect"]),
    (
        "Images",
        &["images", "pull", "push", "load", "save", "import", "tag", "rmi", "history", "image", "login", "logout"],
    ),
    ("VMs", &["vm"]),
    ("hull itself", &["doctor", "info", "system", "version", "completion"]),
];

const EXAMPLES: &str = "\
Examples:
  hull run --rm hull/busybox echo hello      a container in a VM of its own
  hull run -it --rm debian:12                a shell in one; the image is pulled if it is not there
  hull run -d --vm dev hull/busybox top      in a VM named \"dev\", which others can share

Environment (docs/settings.md tells more):
  HULL_ROOT          directory of all state
  HULL_RUNTIME_DIR   directory of sockets
  HULL_ASSETS        directory of guest kernel, initramfs and built-in image
  HULL_QUIET=1       say nothing of a VM that boots
  HULL_VERBOSE=1     say which VM boots, and on which backend
  HULL_LOG=LEVEL     what goes into a VM's log: error, warn, info, debug, trace

'hull COMMAND --help' tells of a command's flags.";

/// The command with its help in groups.
pub fn grouped(command: clap::Command) -> clap::Command {
    let mut text = String::new();
    for (title, names) in GROUPS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{title}:");
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let _ = writeln!(text, "  {name:<12}{}", about.map(ToString::to_string).unwrap_or_default());
        }
        text.push('\n');
    }
    text.push_str(EXAMPLES);
    command
        .help_template("{about}\n\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}\n")
        .override_usage("hull COMMAND [OPTIONS] [ARGUMENTS]")
        .after_help(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group_and_has_an_about() {
        let command = crate::args::grammar();
        let mut grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        grouped.sort_unstable();
        let mut known: Vec<_> = command.get_subcommands().map(|command| command.get_name()).collect();
        known.sort_unstable();
        assert_eq!(grouped, known);
        assert!(command.get_subcommands().all(|command| command.get_about().is_some()));
    }
}
