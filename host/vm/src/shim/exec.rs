//! One more process in a running container.

use super::agent::CallError;
use super::process::{Client, Patience, Process};
use super::roster::Container;
use super::stdio::{Ports, StdioError, Wanted};
use super::{Shim, call_code};
use crate::text;
use hull_protocol::agent::{ExecProcess, ProcessRef, Request, TerminalSize};
use hull_protocol::session::Ended;
use hull_protocol::shim::{ExecPlan, ShimError, ShimErrorCode};
use std::sync::Arc;
use std::time::Duration;

/// From the request to the running process.
const START: Duration = Duration::from_secs(60);

/// How long output may follow the end of the process. Others that it left behind may hold its streams open for as long as
/// the container runs; they are not waited for.
const PATIENCE: Patience = Patience { quiet: Duration::from_secs(1), total: Duration::from_secs(10) };

/// Why a process does not run.
#[derive(Debug, thiserror::Error)]
enum ExecError {
    #[error("an exec of this name runs already")]
    Runs,
    #[error(transparent)]
    Stdio(#[from] StdioError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

impl From<ExecError> for ShimError {
    fn from(error: ExecError) -> Self {
        let code = match &error {
            ExecError::Runs => ShimErrorCode::AlreadyExists,
            ExecError::Call(error) => call_code(error),
            ExecError::Stdio(_) | ExecError::Thread(_) => ShimErrorCode::Internal,
        };
        Self { code, message: text::chain(&error) }
    }
}

/// Starts a process. When this returns, it runs.
///
/// # Errors
/// For the client.
pub fn start(
    shim: &Arc<Shim>,
    container: &Arc<Container>,
    plan: ExecPlan,
    client: Option<Client>,
    size: Option<TerminalSize>,
) -> Result<(u32, Arc<Process>), ShimError> {
    let output = client.is_some();
    let process = Arc::new(Process::new(None, client));
    if !container.add_exec(plan.exec.clone(), Arc::clone(&process)) {
        return Err(ExecError::Runs.into());
    }
    let mut ports = Ports::default();
    let exec = plan.exec.clone();
    let wanted = Wanted { terminal: tty(&plan).then_some(size), stdin: plan.open_stdin, output };
    match launch(shim, &process, &mut ports, plan, wanted) {
        Ok(pid) => {
            let watched = watch(shim, container, exec, Arc::clone(&process), ports);
            watched.map_err(ExecError::Thread)?;
            Ok((pid, process))
        }
        Err(error) => {
            container.remove_exec(&exec);
            ports.cancel(&shim.vmm);
            Err(error.into())
        }
    }
}

/// Whether the process has a terminal.
pub fn tty(plan: &ExecPlan) -> bool {
    plan.process.terminal().unwrap_or(false)
}

fn launch(
    shim: &Shim,
    process: &Arc<Process>,
    ports: &mut Ports,
    plan: ExecPlan,
    wanted: Wanted,
) -> Result<u32, ExecError> {
    let stdio = ports.connect(&shim.vmm, process, wanted)?;
    let name = ProcessRef { container: plan.container, exec: Some(plan.exec) };
    let request = ExecProcess { process: name, spec: plan.process, user: plan.user, stdio };
    Ok(shim.agent.start_process(Request::Exec(Box::new(request)), START)?)
}

/// Waits for the end of the process and tells its clients.
fn watch(
    shim: &Arc<Shim>,
    container: &Arc<Container>,
    exec: hull_protocol::ExecId,
    process: Arc<Process>,
    ports: Ports,
) -> std::io::Result<()> {
    let (shim, container) = (Arc::clone(shim), Arc::clone(container));
    super::thread("exec", move || {
        let exit = process.wait(PATIENCE);
        container.remove_exec(&exec);
        process.finish(&Ended { code: exit.code, reason: exit.error });
        ports.cancel(&shim.vmm);
    })
    .map(drop)
}
