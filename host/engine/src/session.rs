//! Attached streams: of a container that was started, of one that runs, of one more process in it.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::reconcile::SHIM_DIED;
use crate::shim_client::{drain, unexpected};
use crate::spec::{self, ExecConfig};
use hull_platform::socket::LocalStream;
use hull_protocol::agent::TerminalSize;
use hull_protocol::session::Ended;
use hull_protocol::shim::{Attach, ExecPlan, Reply, Request};
use hull_protocol::{ExecId, exit};
use hull_state::{ContainerDir, VmDir};

/// A connection that carries `hull_protocol::session`.
#[derive(Debug)]
pub struct Session {
    /// The connection. Closing it detaches.
    pub stream: LocalStream,
    container: ContainerDir,
    exec: Option<ExecId>,
    vm: VmDir,
}

/// How a session's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEnd {
    /// The exit status.
    pub code: u8,
    /// What the user should know besides.
    pub reason: Option<String>,
}

impl Session {
    pub(crate) fn new(stream: LocalStream, container: ContainerDir, vm: &VmDir) -> Self {
        Self { stream, container, exec: None, vm: vm.clone() }
    }

    /// The container that it belongs to.
    pub fn container(&self) -> &ContainerDir {
        &self.container
    }
}

impl Engine {
    /// Attaches to a running container.
    ///
    /// # Errors
    /// It does not run.
    pub fn attach(&self, container: &ContainerDir, attach: Attach) -> Result<Session, EngineError> {
        let request = || Request::Attach(container.id().clone(), attach.clone());
        match self.ask(container, &request)? {
            (Reply::Attached, stream, vm) => Ok(Session::new(stream, container.clone(), &vm)),
            (other, ..) => Err(unexpected(&other)),
        }
    }

    /// Runs one more process in a running container.
    ///
    /// # Errors
    /// The container does not run; the command, the user or the directory is not there.
    pub fn exec(
        &self,
        container: &ContainerDir,
        exec: &ExecConfig,
        attach: Option<Attach>,
    ) -> Result<Option<Session>, EngineError> {
        let record = container.record()?;
        let plan = ExecPlan {
            container: container.id().clone(),
            exec: ExecId::from_bytes(hull_platform::random::array().map_err(EngineError::io("get random bytes"))?),
            process: spec::exec_process(&record.config, exec)?,
            user: exec.user.clone().unwrap_or(record.config.user),
            open_stdin: exec.open_stdin,
        };
        let request = || Request::Exec(Box::new(plan.clone()), attach.clone());
        match self.ask(container, &request)? {
            (Reply::Started { .. }, stream, vm) => Ok(attach
                .is_some()
                .then(|| Session { exec: Some(plan.exec.clone()), ..Session::new(stream, container.clone(), &vm) })),
            (other, ..) => Err(unexpected(&other)),
        }
    }

    /// Changes the size of the process's terminal.
    ///
    /// # Errors
    /// It has ended, or has no terminal.
    pub fn resize(&self, session: &Session, size: TerminalSize) -> Result<(), EngineError> {
        let request = || Request::Resize(session.container.id().clone(), session.exec.clone(), size);
        self.ask(&session.container, &request).map(drop)
    }

    /// What the last chunk of a session says, after everything that ends with it has ended.
    pub fn session_ended(&self, session: &Session, ended: Ended) -> SessionEnd {
        // With a VM of its own the connection ends with the shim: afterwards nothing of the container runs.
        drain(&session.stream);
        SessionEnd { code: ended.code, reason: ended.reason }
    }

    /// How a process ended whose session broke off: with its VM.
    ///
    /// # Errors
    /// The state directory.
    pub fn session_lost(&self, session: &Session) -> Result<SessionEnd, EngineError> {
        self.settle_gone(&session.vm)?;
        let reason = session.container.state().ok().and_then(|state| state.error);
        Ok(SessionEnd { code: exit::KILLED, reason: reason.or_else(|| Some(SHIM_DIED.to_owned())) })
    }
}
