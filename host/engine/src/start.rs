//! Starting a container: its VM first, so that the guest boots while the rest is done.

use crate::create::CreateRequest;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::image::Image;
use crate::reconcile::{died, ignore_not_found};
use crate::session::Session;
use crate::shim_client::unexpected;
use crate::spec;
use crate::vm::{Boot, PendingVm};
use hull_protocol::shim::{Attach, ContainerPlan, Reply, Request};
use hull_state::{ContainerDir, ContainerRecord, Status, VmDir};

/// Is told of a boot as soon as it begins, and of the VM that boots.
pub type Announce<'a> = &'a dyn Fn(&Boot, &VmDir);

/// A container that was started.
#[derive(Debug)]
pub struct Started {
    /// It.
    pub container: ContainerDir,
    /// Its streams, if they were asked for.
    pub session: Option<Session>,
}

impl Engine {
    /// Creates a container of an image and starts it.
    ///
    /// A VM of its own is started before the container's record is written: the two take about the same time, and a VM
    /// that is given no container ends by itself.
    ///
    /// # Errors
    /// As [`Engine::create`] and [`Engine::start`]. With `auto_remove` nothing is left then.
    pub fn run(
        &self,
        request: CreateRequest,
        image: Image<'_>,
        attach: Option<Attach>,
        announce: Announce<'_>,
    ) -> Result<Started, EngineError> {
        // Before anything else that may be missing: without a backend nothing helps.
        self.choose_backend(request.config.vm.backend.as_deref())?;
        let draft = self.draft(request, image)?;
        let early =
            if draft.record.config.vm.name.is_none() { Some(self.begin(&draft.record, announce)?) } else { None };
        let (container, record) = match self.publish(draft) {
            Ok(published) => published,
            Err(error) => {
                if let Some(pending) = early {
                    pending.abandon();
                }
                return Err(error);
            }
        };
        let pending = early.map_or_else(|| self.begin(&record, announce), Ok);
        let started = pending.and_then(|pending| {
            // Others see the container by now, and may want to start or remove it.
            let _lock = container.lock()?;
            self.start_in(pending, &container, &record, attach)
        });
        match started {
            Ok(session) => Ok(Started { container, session }),
            Err(error) => {
                self.discard_if_asked(container, &record)?;
                Err(error)
            }
        }
    }

    /// Starts a container that exists. One that runs already stays as it is, and is attached to if that was asked.
    ///
    /// # Errors
    /// The container, its VM, or its command.
    pub fn start(
        &self,
        reference: &str,
        attach: Option<Attach>,
        announce: Announce<'_>,
    ) -> Result<Started, EngineError> {
        let container = self.find(reference)?;
        let lock = container.lock()?;
        // Only now: it may have been started, or have ended, while the lock was waited for.
        if self.settled_state(&container)?.status == Status::Running {
            drop(lock);
            let session = attach.map(|attach| self.attach(&container, attach)).transpose()?;
            return Ok(Started { container, session });
        }
        let record = container.record()?;
        let pending = self.begin(&record, announce)?;
        let session = match self.start_in(pending, &container, &record, attach) {
            Ok(session) => session,
            Err(error) => {
                drop(lock);
                self.discard_if_asked(container, &record)?;
                return Err(error);
            }
        };
        Ok(Started { container, session })
    }

    fn begin(&self, record: &ContainerRecord, announce: Announce<'_>) -> Result<PendingVm, EngineError> {
        let pending = self.vm_for(&record.config)?;
        if let Some(boot) = &pending.boot {
            announce(boot, &pending.vm);
        }
        Ok(pending)
    }

    fn start_in(
        &self,
        pending: PendingVm,
        container: &ContainerDir,
        record: &ContainerRecord,
        attach: Option<Attach>,
    ) -> Result<Option<Session>, EngineError> {
        let attached = attach.is_some();
        let (vm, plan) = (pending.vm.clone(), plan(record)?);
        let answer = pending.connect().and_then(|client| client.call(Request::Start(Box::new(plan), attach)));
        match answer {
            Ok((Reply::Started { .. }, stream)) => Ok(attached.then(|| Session::new(stream, container.clone(), &vm))),
            Ok((other, _)) => Err(unexpected(&other)),
            Err(EngineError::VmGone) => Err(self.died_while_starting(&vm, container, record)?),
            Err(error) => Err(error),
        }
    }

    fn died_while_starting(
        &self,
        vm: &VmDir,
        container: &ContainerDir,
        record: &ContainerRecord,
    ) -> Result<EngineError, EngineError> {
        // Before the VM's directory goes.
        let why = died(vm, container, record);
        self.settle_gone(vm)?;
        Ok(EngineError::Vm(format!("while the container was being started, {why}")))
    }

    /// A container that is to be removed at its end, and did not even begin.
    fn discard_if_asked(&self, container: ContainerDir, record: &ContainerRecord) -> Result<(), EngineError> {
        if !record.config.auto_remove || container.state().is_ok_and(|state| state.status == Status::Running) {
            return Ok(());
        }
        ignore_not_found(container.remove())
    }
}

impl PendingVm {
    /// Ends a VM that will get no container.
    fn abandon(self) {
        // If this fails the shim ends the VM by itself, because no container comes.
        if let Ok(client) = self.connect() {
            drop(client.call_to_the_end(Request::StopVm));
        }
    }
}

fn plan(record: &ContainerRecord) -> Result<ContainerPlan, EngineError> {
    let config = &record.config;
    Ok(ContainerPlan {
        container: record.id.clone(),
        spec: spec::container_spec(&record.id, config)?,
        user: config.user.clone(),
        init: config.init,
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        image: record.image_rootfs.clone(),
        stop_signal: config.stop_signal,
        stop_timeout_seconds: config.stop_timeout_seconds,
        auto_remove: config.auto_remove,
    })
}
