//! The host's requests.

use super::tables::Stage;
use super::{Agent, End, Ending};
use crate::cgroup::Cgroup;
use crate::clock;
use crate::control::{HostFrame, Received};
use crate::document::Unread;
use crate::error::{Result, errno, failure, invalid};
use crate::namespaces::pidfd_send_signal;
use hull_protocol::ContainerId;
use hull_protocol::agent::{ErrorCode, Outcome, Request, ResizeTerminal, SignalProcess};
use nix::errno::Errno;
use std::os::fd::AsFd;
use std::time::Instant;

/// The highest signal number (signal(7)).
const LAST_SIGNAL: u8 = 64;

impl Agent {
    /// Serves every request that has arrived.
    pub(super) fn serve_requests(&mut self) -> Result<Option<End>> {
        loop {
            match self.control.receive()? {
                Received::Frame(HostFrame { id, request }) => self.serve(id, request)?,
                Received::Nothing => return Ok(None),
                Received::Closed => return Ok(Some(End::HostGone)),
            }
        }
    }

    fn serve(&mut self, id: u64, request: Request<Unread, Unread>) -> Result<()> {
        let outcome = match request {
            // These two are answered when the process runs, or is gone again.
            Request::Start(start) => match self.start_container(id, *start)? {
                Ok(()) => return Ok(()),
                Err(error) => Err(error),
            },
            Request::Exec(exec) => match self.start_process(id, *exec)? {
                Ok(()) => return Ok(()),
                Err(error) => Err(error),
            },
            Request::Signal(signal) => self.signal(&signal),
            Request::Resize(resize) => self.resize(&resize),
            Request::Remove(container) => self.remove(&container.container)?,
            Request::Usage(container) => self.usage(&container.container),
            Request::Processes(container) => self.list_processes(&container.container),
            Request::SetTime(time) => clock::set(time).map(|()| Outcome::Done),
            Request::End => {
                self.begin_to_end(id)?;
                return Ok(());
            }
        };
        self.answer(id, outcome)
    }

    fn signal(&self, request: &SignalProcess) -> Result<Outcome> {
        if request.signal == 0 || request.signal > LAST_SIGNAL {
            return Err(invalid(format!("{} is no signal", request.signal)));
        }
        let process = self.process(&request.process)?;
        match pidfd_send_signal(process.handle.as_fd(), request.signal) {
            Ok(()) => Ok(Outcome::Done),
            Err(Errno::ESRCH) => Err(failure(ErrorCode::NotFound, "the process has ended")),
            Err(error) => Err(errno(ErrorCode::Internal, "cannot send the signal", error)),
        }
    }

    fn resize(&self, request: &ResizeTerminal) -> Result<Outcome> {
        let process = self.process(&request.process)?;
        let terminal = process.terminal.and_then(|key| self.relays.get(key));
        if terminal.is_some_and(|terminal| terminal.resize(request.size)) {
            Ok(Outcome::Done)
        } else {
            Err(failure(ErrorCode::NotFound, "the process has no terminal"))
        }
    }

    fn remove(&mut self, id: &ContainerId) -> Result<Result<Outcome>> {
        let container = match self.container(id) {
            Ok(container) => container,
            Err(error) => return Ok(Err(error)),
        };
        if !matches!(container.stage, Stage::Ended) {
            return Ok(Err(invalid("the container has not ended")));
        }
        if container.discard {
            return Ok(Err(invalid("the container goes with the VM")));
        }
        let removed = container.cgroup.as_ref().map_or(Ok(()), Cgroup::remove);
        self.containers.retain(|container| container.id != *id);
        if let Err(error) = removed {
            // An empty group is no reason to keep the host from going on.
            self.warn(format!("the control group of a container cannot be removed: {}", error.desc()))?;
        }
        Ok(Ok(Outcome::Done))
    }

    fn begin_to_end(&mut self, request: u64) -> Result<()> {
        if self.ending.is_some() {
            return self.answer(request, Err(invalid("the VM is ending already")));
        }
        self.ending = Some(Ending { request, asked: Instant::now() });
        let killed: Vec<_> = self
            .containers
            .iter()
            .filter(|container| matches!(container.stage, Stage::Alive))
            .filter_map(|container| container.cgroup.as_ref()?.kill().err())
            .collect();
        killed.into_iter().try_for_each(|error| self.warn(error.message))
    }
}
