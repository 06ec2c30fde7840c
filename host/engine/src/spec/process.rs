//! The process object: arguments, environment, working directory, limits.

use super::{SpecError, capabilities};
use hull_state::{ContainerConfig, Ulimit};
use oci_spec::runtime::{
    LinuxCapabilities, LinuxCapabilitiesBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process,
    ProcessBuilder, User,
};
use std::str::FromStr;

/// The search path when the image says none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Open files when `--ulimit nofile` is not given: what a service gets from systemd, and so a container from Docker;
/// the VM's first process would hand down the kernel's 4096, too few for a data base.
const OPEN_FILES: Ulimited = Ulimited { soft: 1024, hard: 524_288 };

struct Ulimited {
    soft: u64,
    hard: u64,
}

/// What `exec` asks besides the command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// Program and arguments.
    pub command: Vec<String>,
    /// `KEY=VALUE`, or `KEY` to take one away.
    pub env: Vec<String>,
    /// In place of the container's.
    pub working_dir: Option<String>,
    /// In place of the container's.
    pub user: Option<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// With all capabilities.
    pub privileged: bool,
    /// Connect its standard input.
    pub open_stdin: bool,
}

pub(super) fn container_process(config: &ContainerConfig) -> Result<Process, SpecError> {
    let args = config.entrypoint.iter().chain(&config.command).cloned().collect();
    process(config, args, config.env.clone(), &config.working_dir, Terminal(config.tty), config.privileged)
}

/// The process object of one more process in a container.
///
/// # Errors
/// See [`SpecError`].
pub fn exec_process(config: &ContainerConfig, exec: &ExecConfig) -> Result<Process, SpecError> {
    let env = merge_environment(config.env.clone(), &exec.env);
    let working_dir = exec.working_dir.as_ref().unwrap_or(&config.working_dir);
    let privileged = config.privileged || exec.privileged;
    process(config, exec.command.clone(), env, working_dir, Terminal(exec.tty), privileged)
}

#[derive(Clone, Copy)]
struct Terminal(bool);

fn process(
    config: &ContainerConfig,
    args: Vec<String>,
    env: Vec<String>,
    working_dir: &str,
    Terminal(tty): Terminal,
    privileged: bool,
) -> Result<Process, SpecError> {
    let cwd = match working_dir {
        "" => "/",
        path if path.starts_with('/') => path,
        other => return Err(SpecError::WorkingDirectory(other.to_owned())),
    };
    let process = ProcessBuilder::default()
        .terminal(tty)
        .user(User::default())
        .args(args)
        .env(environment(config, &env, tty))
        .cwd(cwd)
        .capabilities(linux_capabilities(config, privileged)?)
        .rlimits(rlimits(&config.ulimits)?)
        .no_new_privileges(false)
        .oom_score_adj(0)
        .build()?;
    Ok(process)
}

fn linux_capabilities(config: &ContainerConfig, privileged: bool) -> Result<LinuxCapabilities, SpecError> {
    let set = capabilities::effective(&config.cap_add, &config.cap_drop, privileged)?;
    // Nothing is inheritable, so that a program with file capabilities gains none from a caller that has none.
    let mut sets =
        LinuxCapabilitiesBuilder::default().bounding(set.clone()).permitted(set.clone()).effective(set).build()?;
    sets.set_inheritable(None).set_ambient(None);
    Ok(sets)
}

/// The variables that every container has, then the configured ones over them. `HOME` is added in the guest, which
/// knows the user's directory.
fn environment(config: &ContainerConfig, configured: &[String], tty: bool) -> Vec<String> {
    let mut base = vec![PATH.to_owned(), format!("HOSTNAME={}", config.hostname)];
    if tty {
        base.push("TERM=xterm".to_owned());
    }
    merge_environment(base, configured)
}

/// `base` with `changes` over it: `KEY=VALUE` replaces or adds, `KEY` alone takes away.
pub fn merge_environment(mut base: Vec<String>, changes: &[String]) -> Vec<String> {
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for change in changes {
        let at = base.iter().position(|entry| key(entry) == key(change));
        match (at, change.contains('=')) {
            (Some(at), true) => base[at].clone_from(change),
            (None, true) => base.push(change.clone()),
            (Some(at), false) => drop(base.remove(at)),
            (None, false) => {}
        }
    }
    base
}

fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<PosixRlimit>, SpecError> {
    let mut rlimits = Vec::with_capacity(ulimits.len() + 1);
    if !ulimits.iter().any(|ulimit| ulimit.name == "nofile") {
        rlimits.push(rlimit(PosixRlimitType::RlimitNofile, OPEN_FILES.soft, OPEN_FILES.hard)?);
    }
    for Ulimit { name, soft, hard } in ulimits {
        let unknown = |_| SpecError::Limit(format!("unknown resource limit: {name:?}"));
        let kind = PosixRlimitType::from_str(&format!("RLIMIT_{}", name.to_ascii_uppercase())).map_err(unknown)?;
        rlimits.push(rlimit(kind, unlimited(*soft), unlimited(*hard))?);
    }
    Ok(rlimits)
}

fn rlimit(kind: PosixRlimitType, soft: u64, hard: u64) -> Result<PosixRlimit, SpecError> {
    Ok(PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build()?)
}

/// Docker's -1 is RLIM_INFINITY (getrlimit(2)).
fn unlimited(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
