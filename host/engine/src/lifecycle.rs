//! What is done to a container that exists: stop, kill, wait, remove.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::reconcile::ignore_not_found;
use crate::shim_client::{ShimClient, drain, unexpected};
use hull_platform::signals::LinuxSignal;
use hull_platform::socket::LocalStream;
use hull_protocol::exit;
use hull_protocol::shim::{Reply, Request, ShimError, ShimErrorCode};
use hull_state::{ContainerDir, ContainerState, Status, VmDir};

/// How often a call is made again because the container ended, or was started anew, while it was under way.
const ATTEMPTS: u32 = 8;

impl Engine {
    /// Stops a container: its stop signal, then after the time-out `SIGKILL`. One that does not run is left alone.
    ///
    /// # Errors
    /// The shim's.
    pub fn stop(
        &self,
        container: &ContainerDir,
        signal: Option<LinuxSignal>,
        timeout_seconds: Option<i64>,
    ) -> Result<(), EngineError> {
        let request = || Request::Stop {
            container: container.id().clone(),
            signal: signal.map(LinuxSignal::number),
            timeout_seconds,
        };
        match self.ask(container, &request) {
            Ok((Reply::Ended { .. }, stream, _)) => {
                drain(&stream);
                Ok(())
            }
            Ok((other, ..)) => Err(unexpected(&other)),
            Err(EngineError::NotRunning(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a signal to a container's first process; after `SIGKILL` waits for its end.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self, container: &ContainerDir, signal: LinuxSignal) -> Result<(), EngineError> {
        let request = || Request::Signal(container.id().clone(), signal.number());
        match self.ask(container, &request)? {
            (Reply::Done, ..) => {}
            (other, ..) => return Err(unexpected(&other)),
        }
        if signal == LinuxSignal::KILL {
            self.wait(container)?;
        }
        Ok(())
    }

    /// Waits until a container does not run, and says its exit status.
    ///
    /// # Errors
    /// The state directory.
    pub fn wait(&self, container: &ContainerDir) -> Result<u8, EngineError> {
        let request = || Request::Wait(container.id().clone());
        match self.ask(container, &request) {
            Ok((Reply::Ended { code }, stream, _)) => {
                drain(&stream);
                Ok(code)
            }
            Ok((other, ..)) => Err(unexpected(&other)),
            Err(EngineError::NotRunning(_)) => match container.state() {
                Ok(state) => Ok(state.exit_code),
                // Its VM died, and it was to be removed at its end.
                Err(error) if error.is_not_found() => Ok(exit::KILLED),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error),
        }
    }

    /// Removes a container; with `force` kills it before if it runs.
    ///
    /// # Errors
    /// It runs.
    pub fn remove(&self, container: ContainerDir, force: bool) -> Result<(), EngineError> {
        // Held to the end, so that nobody starts it in between.
        let _lock = match container.lock() {
            Ok(lock) => lock,
            Err(error) if error.is_not_found() => return Err(EngineError::NoSuchContainer(container.id().to_string())),
            Err(error) => return Err(error.into()),
        };
        if self.settled_state(&container)?.status == Status::Running {
            if !force {
                let name = container.record().map_or_else(|_| container.id().to_string(), |record| record.name);
                return Err(EngineError::RemoveRunning(name));
            }
            self.stop(&container, Some(LinuxSignal::KILL), Some(0))?;
        }
        ignore_not_found(container.remove())
    }

    /// A container's state, true even if its VM's shim died a moment ago.
    ///
    /// # Errors
    /// It is not there.
    pub fn settled_state(&self, container: &ContainerDir) -> Result<ContainerState, EngineError> {
        let read = || match container.state() {
            Err(error) if error.is_not_found() => Err(EngineError::NoSuchContainer(container.id().to_string())),
            other => Ok(other?),
        };
        let state = read()?;
        match &state.vm {
            Some(vm) if state.status == Status::Running && !self.root.vm(vm).is_alive() => {
                self.settle()?;
                read()
            }
            _ => Ok(state),
        }
    }

    /// Asks the shim of a running container.
    ///
    /// # Errors
    /// [`EngineError::NotRunning`], also if it ended meanwhile, and the shim's own.
    pub(crate) fn ask(
        &self,
        container: &ContainerDir,
        request: &dyn Fn() -> Request,
    ) -> Result<(Reply, LocalStream, VmDir), EngineError> {
        let not_running = || EngineError::NotRunning(container.id().to_string());
        for _ in 0..ATTEMPTS {
            let state = match container.state() {
                Ok(state) => state,
                Err(error) if error.is_not_found() => return Err(not_running()),
                Err(error) => return Err(error.into()),
            };
            let (Status::Running, Some(vm)) = (state.status, state.vm) else { return Err(not_running()) };
            let vm = self.root.vm(&vm);
            let answer = ShimClient::connect(&vm.socket_path()).and_then(|client| client.call(request()));
            match answer {
                Ok((reply, stream)) => return Ok((reply, stream, vm)),
                Err(EngineError::VmGone) => self.settle_gone(&vm)?,
                // It is about to end, or has just ended; its state says so once that is true.
                Err(EngineError::Shim(ShimError { code: ShimErrorCode::NotFound | ShimErrorCode::VmGone, .. })) => {
                    if container.state().is_ok_and(|state| state.vm.as_ref() == Some(vm.id())) {
                        return Err(not_running());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(not_running())
    }
}
