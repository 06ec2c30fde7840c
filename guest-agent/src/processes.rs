//! The processes of a container, for `top`: by proc_pid_status(5) and proc_pid_cmdline(5).

use hull_protocol::agent::ProcessEntry;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;

/// Bytes of a command line that are told: containers choose how long theirs are.
const LONGEST_COMMAND: u64 = 4096;

/// Bytes of command lines in one answer, so that it fits into a frame even if every byte must be escaped.
const ALL_COMMANDS: usize = 128 << 10;

/// Processes in one answer, for the same reason.
const MOST: usize = 3000;

/// What the kernel says of a process. Ids are the VM's, but for the last one.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    name: String,
    parent: u32,
    uid: u32,
    /// As the innermost PID namespace has it.
    inner_pid: u32,
}

/// Describes processes, given by their ids in the VM. Those that have ended meanwhile are left out.
pub fn describe(pids: &[u32]) -> Vec<ProcessEntry> {
    let status = |pid: &u32| Some((*pid, parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)?));
    let found: BTreeMap<u32, Status> = pids.iter().filter_map(status).take(MOST).collect();
    let mut room = ALL_COMMANDS;
    let mut entries: Vec<_> = found
        .iter()
        .map(|(pid, status)| {
            let command =
                command(*pid).filter(|command| !command.is_empty()).unwrap_or_else(|| format!("[{}]", status.name));
            let command = if command.len() > room { String::new() } else { command };
            room -= command.len();
            // The first process's parent, and that of one that the host started, is outside.
            let parent = found.get(&status.parent).map_or(0, |parent| parent.inner_pid);
            ProcessEntry { pid: status.inner_pid, parent, uid: status.uid, command }
        })
        .collect();
    entries.sort_unstable_by_key(|entry| entry.pid);
    entries
}

fn parse(status: &str) -> Option<Status> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    Some(Status {
        name: field("Name")?.to_owned(),
        parent: field("PPid")?.parse().ok()?,
        uid: field("Uid")?.split_ascii_whitespace().nth(1)?.parse().ok()?,
        inner_pid: field("NSpid")?.split_ascii_whitespace().next_back()?.parse().ok()?,
    })
}

fn command(pid: u32) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/cmdline")).ok()?.take(LONGEST_COMMAND).read_to_end(&mut bytes).ok()?;
    Some(join(&bytes))
}

/// Arguments, each ended by a zero byte, as one line.
fn join(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end_matches('\0').replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str =
        "Name:\tsh (x)\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t123\nPPid:\t100\nUid:\t0\t33\t0\t0\nNSpid:\t123\t7\n";

    #[test]
    fn a_status_is_parsed() {
        let expected = Status { name: "sh (x)".to_owned(), parent: 100, uid: 33, inner_pid: 7 };
        assert_eq!(parse(STATUS), Some(expected));
        assert_eq!(parse(&STATUS.replace("NSpid", "X")), None);
        assert_eq!(parse(&STATUS.replace("100", "x")), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn command_lines_are_joined() {
        assert_eq!(join(b"sh\0-c\0a b\0"), "sh -c a b");
        assert_eq!(join(b"\xff\0"), "\u{fffd}");
        assert_eq!(join(b""), "");
    }

    #[test]
    fn this_process_is_described() {
        let entries = describe(&[std::process::id(), 0]);
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(entry.parent, 0, "its parent is not in the list");
        assert!(entry.command.contains("hull_agent"), "{entry:?}");
    }
}
