//! A machine whose vCPUs run, each on a thread of its own.

use super::bus::Bus;
use super::hypervisor_failed;
use crate::backend::{Ending, Machine, MachineError};
use hull_hypervisor::{HypervisorError, Kick, RunEnd, Vcpu as _, VcpuSeed, Vm};
use hull_platform::jail::{self, JailError, Role};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// The handles that stop a machine's vCPUs.
#[derive(Clone)]
pub struct Kicks(Arc<[Arc<dyn Kick>]>);

impl Kicks {
    /// Those of all vCPUs, before they are bound.
    pub fn of<S: VcpuSeed>(seeds: &[S]) -> Self {
        Self(seeds.iter().map(VcpuSeed::kick).collect())
    }

    /// Stops every vCPU, the caller's own included.
    pub fn all(&self) {
        self.0.iter().for_each(|kick| kick.kick());
    }
}

/// What the vCPU threads share.
struct Shared {
    bus: Bus,
    kicks: Kicks,
    failure: Mutex<Option<String>>,
}

impl Shared {
    /// Runs one vCPU to its end, which is the machine's.
    fn run<S: VcpuSeed>(&self, seed: S) {
        let index = seed.index();
        let ended = seed.bind().and_then(|mut vcpu| {
            confine()?;
            vcpu.run(&self.bus)
        });
        let failure = match ended {
            Ok(RunEnd::Kicked | RunEnd::PoweredOff | RunEnd::Reset) => None,
            Ok(RunEnd::Fault(what)) => Some(format!("vCPU {index}: {what}")),
            Err(HypervisorError::System { action, source }) => Some(format!("vCPU {index}: cannot {action}: {source}")),
            Err(HypervisorError::Config(what)) => Some(format!("vCPU {index}: {what}")),
        };
        if let Some(failure) = failure {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        }
        self.kicks.all();
    }
}

/// Leaves the calling thread what a vCPU needs.
fn confine() -> Result<(), HypervisorError> {
    let failed =
        |error: JailError| HypervisorError::System { action: error.action, source: io::Error::other(error.source) };
    jail::narrow(Role::Vcpu).map_err(failed)
}

/// A running machine. The VM is dropped after the vCPU threads have ended.
pub struct Running<V> {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    _vm: V,
}

impl<V: Vm + Send + 'static> Running<V>
where
    V::Seed: 'static,
{
    /// Starts every vCPU.
    pub fn start(vm: V, seeds: Vec<V::Seed>, kicks: Kicks, bus: Bus) -> Result<Box<dyn Machine>, MachineError> {
        let shared = Arc::new(Shared { bus, kicks, failure: Mutex::new(None) });
        let mut running = Self { shared, threads: Vec::with_capacity(seeds.len()), _vm: vm };
        for seed in seeds {
            let shared = Arc::clone(&running.shared);
            let name = format!("vcpu{}", seed.index());
            // On failure, dropping `running` ends the threads that were started.
            let thread = Builder::new().name(name).spawn(move || shared.run(seed));
            let failed =
                |source| hypervisor_failed(HypervisorError::System { action: "start a vCPU's thread", source });
            running.threads.push(thread.map_err(failed)?);
        }
        Ok(Box::new(running))
    }
}

impl<V> Running<V> {
    fn join(&mut self) -> Option<String> {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.shared
                    .failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert("a vCPU's thread panicked".into());
            }
        }
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<V: Send> Machine for Running<V> {
    fn wait(&mut self) -> Ending {
        match self.join() {
            Some(failure) => Ending::Failed(failure),
            None => Ending::Ended,
        }
    }
}

impl<V> Drop for Running<V> {
    fn drop(&mut self) {
        self.shared.kicks.all();
        self.join();
    }
}
