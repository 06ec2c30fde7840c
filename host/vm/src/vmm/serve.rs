//! Carries out the shim's orders.

use super::devices::{self, Controls, DeviceError};
use crate::control::{self, MachineEnd, Order, Report};
use crate::text;
use hull_machine::backend::{Machine, MachineError, NamedDevice};
use hull_machine::plan::MachinePlan;
use hull_platform::handle::Handle;
use hull_platform::jail::{self, Jail, JailError, Role};
use hull_platform::socket::LocalStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error("{given} handles came with an order that takes {taken}")]
    Handles { given: usize, taken: usize },
    #[error("the machine was launched before")]
    Launched,
    #[error("there is no backend {0:?}")]
    NoBackend(String),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    #[error("cannot narrow the jail")]
    Jail(#[source] JailError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// The shim, for two threads that have something to say.
type Shim = Arc<Mutex<LocalStream>>;

fn report(shim: &Shim, report: &Report) -> bool {
    // Lines are short and the shim reads at once: nobody waits for the lock.
    let shim = shim.lock().unwrap_or_else(PoisonError::into_inner);
    control::send(&shim, report, &[]).is_ok()
}

/// Serves until the control socket closes; the process then ends, and the machine with it.
pub fn serve(orders: LocalStream, jail: &Jail) -> ExitCode {
    let shim = match orders.try_clone() {
        Ok(clone) => Arc::new(Mutex::new(clone)),
        Err(error) => {
            log::error!("cannot serve the control socket: {error}");
            return ExitCode::FAILURE;
        }
    };
    let layers = jail.layers.iter().map(|layer| (*layer).to_owned()).collect();
    if !report(&shim, &Report::Confined(layers)) {
        return ExitCode::SUCCESS;
    }
    let (controls, devices) = devices::build();
    let mut server = Server { controls, devices: Some(devices), shim: Arc::clone(&shim) };
    loop {
        match control::receive(&orders) {
            Ok(Some((order, handles))) => {
                let result = server.carry_out(order, handles).map_err(|error| text::chain(&error));
                if !report(&shim, &Report::Answer(result)) {
                    return ExitCode::SUCCESS;
                }
            }
            Ok(None) => return ExitCode::SUCCESS,
            Err(error) => {
                log::error!("the control socket failed: {}", text::chain(&error));
                return ExitCode::FAILURE;
            }
        }
    }
}

struct Server {
    controls: Controls,
    /// Until they are given to the machine.
    devices: Option<Vec<NamedDevice>>,
    shim: Shim,
}

impl Server {
    fn carry_out(&mut self, order: Order, handles: Vec<Handle>) -> Result<(), OrderError> {
        match order {
            Order::Launch { plan, backend } => self.launch(&plan, &backend, handles),
            Order::Map { disk, extent } => Ok(self.controls.map(disk, extent, only(handles)?)?),
            Order::Unmap { disk, extent } => Ok(self.controls.unmap(disk, extent)?),
            Order::Expect { port } => Ok(self.controls.expect(port, only(handles)?)?),
            Order::Cancel { port } => {
                self.controls.cancel(port);
                Ok(())
            }
        }
    }

    fn launch(&mut self, plan: &MachinePlan, name: &str, handles: Vec<Handle>) -> Result<(), OrderError> {
        let backend = hull_machine::backend(name).ok_or_else(|| OrderError::NoBackend(name.to_owned()))?;
        let devices = self.devices.take().ok_or(OrderError::Launched)?;
        let machine = backend.launch(plan, devices, handles)?;
        hull_platform::memory::release_code();
        let shim = Arc::clone(&self.shim);
        let named = std::thread::Builder::new().name("machine".to_owned()).stack_size(128 << 10);
        named.spawn(move || wait_for_end(machine, &shim)).map(drop).map_err(OrderError::Thread)?;
        jail::narrow(Role::Control).map_err(OrderError::Jail)
    }
}

/// The only handle that came with an order.
fn only(handles: Vec<Handle>) -> Result<Handle, OrderError> {
    let [handle] =
        <[Handle; 1]>::try_from(handles).map_err(|handles| OrderError::Handles { given: handles.len(), taken: 1 })?;
    Ok(handle)
}

fn wait_for_end(mut machine: Box<dyn Machine>, shim: &Shim) {
    let end = match jail::narrow(Role::Control) {
        Ok(()) => MachineEnd::from(machine.wait()),
        Err(error) => MachineEnd::Failed(text::chain(&error)),
    };
    report(shim, &Report::Ended(end));
    // The shim closes the control socket, or kills us.
}

#[cfg(test)]
mod tests;
