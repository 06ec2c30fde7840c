//! A KVM vCPU and its run loop.
#![expect(unsafe_code, reason = "the kernel shares a page with the vCPU's thread")]

use super::kick::{KickState, Registration};
use super::machine::Shared;
use super::{state, system_error};
use crate::{GuestIo, HypervisorError, Kick, RunEnd, State, Vcpu, VcpuSeed};
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::marker::PhantomData;
use std::slice;
use std::sync::Arc;

/// A vCPU that no thread owns yet.
pub struct Seed {
    index: u8,
    fd: VcpuFd,
    shared: Arc<Shared>,
    kick: Arc<KickState>,
}

impl Seed {
    pub(super) fn new(index: u8, fd: VcpuFd, shared: Arc<Shared>, kick: Arc<KickState>) -> Self {
        Self { index, fd, shared, kick }
    }
}

impl VcpuSeed for Seed {
    type Vcpu = KvmVcpu;

    fn index(&self) -> u8 {
        self.index
    }

    fn kick(&self) -> Arc<dyn Kick> {
        Arc::clone(&self.kick) as Arc<dyn Kick>
    }

    fn bind(mut self) -> Result<KvmVcpu, HypervisorError> {
        let immediate_exit = &raw mut self.fd.get_kvm_run().immediate_exit;
        // SAFETY: the flag lies in the mapping that `fd` owns; in `KvmVcpu` the registration is dropped before `fd`, and
        // on this thread, because `KvmVcpu` is not `Send`.
        let registration = unsafe { Registration::new(Arc::clone(&self.kick), immediate_exit) };
        let registration = registration
            .map_err(|source| HypervisorError::System { action: "install the kick's signal handler", source })?;
        Ok(KvmVcpu {
            _registration: registration,
            fd: self.fd,
            kick: self.kick,
            _shared: self.shared,
            _thread: PhantomData,
        })
    }
}

/// A vCPU on its thread. Fields are dropped in this order.
pub struct KvmVcpu {
    _registration: Registration,
    fd: VcpuFd,
    kick: Arc<KickState>,
    _shared: Arc<Shared>,
    _thread: PhantomData<*const ()>,
}

impl Vcpu for KvmVcpu {
    fn run(&mut self, io: &dyn GuestIo) -> Result<RunEnd, HypervisorError> {
        let (mut kicked, mut unfinished) = (false, false);
        loop {
            // Cleared before the request is looked for: a kick after this line sets it again.
            self.fd.set_kvm_immediate_exit(0);
            kicked |= self.kick.take();
            if kicked && !unfinished {
                return Ok(RunEnd::Kicked);
            }
            if kicked {
                // The guest's access is done only when the kernel hears of it. It then comes back at once.
                self.fd.set_kvm_immediate_exit(1);
            }
            let fault = match self.fd.run() {
                Ok(VcpuExit::MmioRead(address, data)) => {
                    io.mmio_read(address, data);
                    unfinished = true;
                    continue;
                }
                Ok(VcpuExit::MmioWrite(address, data)) => {
                    io.mmio_write(address, data);
                    unfinished = true;
                    continue;
                }
                Ok(VcpuExit::IoIn(port, data)) => {
                    let (start, length) = (data.as_mut_ptr(), data.len());
                    let size = self.port_access_size();
                    // SAFETY: the bytes that the exit lent, not used in between.
                    let data = unsafe { slice::from_raw_parts_mut(start, length) };
                    data.chunks_mut(size).for_each(|one| io.port_read(port, one));
                    unfinished = true;
                    continue;
                }
                Ok(VcpuExit::IoOut(port, data)) => {
                    let (start, length) = (data.as_ptr(), data.len());
                    let size = self.port_access_size();
                    // SAFETY: as above.
                    let data = unsafe { slice::from_raw_parts(start, length) };
                    data.chunks(size).for_each(|one| io.port_write(port, one));
                    unfinished = true;
                    continue;
                }
                Ok(VcpuExit::Intr) => {
                    unfinished = false;
                    continue;
                }
                Ok(VcpuExit::Shutdown) => "triple fault".to_owned(),
                Ok(VcpuExit::FailEntry(reason, cpu)) => {
                    format!("the CPU refused to enter the guest: {reason:#x} on CPU {cpu}")
                }
                Ok(other) => format!("the guest did what KVM cannot go on from: {other:?}"),
                // EAGAIN: a secondary vCPU was woken but not started.
                Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {
                    unfinished = false;
                    continue;
                }
                Err(error) => return Err(system_error("run the guest")(error)),
            };
            return Ok(RunEnd::Fault(self.with_registers(&fault)));
        }
    }

    fn state(&self) -> Option<&dyn State> {
        Some(self)
    }
}

impl State for KvmVcpu {
    fn save(&self) -> Result<Vec<u8>, HypervisorError> {
        state::save_vcpu(&self.fd)
    }

    fn restore(&self, state: &[u8]) -> Result<(), HypervisorError> {
        state::restore_vcpu(&self.fd, state)
    }
}

impl KvmVcpu {
    /// Bytes of one access of the present port exit; string instructions bring several in one exit.
    fn port_access_size(&mut self) -> usize {
        // SAFETY: called for a port exit only, for which the union holds `io`.
        let size = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.io.size };
        usize::from(size.max(1))
    }

    fn with_registers(&self, what: &str) -> String {
        let (Ok(regs), Ok(system)) = (self.fd.get_regs(), self.fd.get_sregs()) else { return what.to_owned() };
        format!(
            "{what} (rip {:#x}, rsp {:#x}, cr0 {:#x}, cr2 {:#x}, cr3 {:#x}, cr4 {:#x}, efer {:#x})",
            regs.rip, regs.rsp, system.cr0, system.cr2, system.cr3, system.cr4, system.efer
        )
    }
}
