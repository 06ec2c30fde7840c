//! The requests of one connection.

use super::memory::{MemoryError, MemoryTable};
use super::ring::{Ring, UserLayout};
use crate::device::{Description, StartError, VirtioDevice};
use std::fs::File;
use std::io;
use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight, VhostUserLog,
    VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserSharedMsg,
    VhostUserSingleMemoryRegion, VhostUserVirtioFeatures, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;

/// Most descriptors in a ring, whatever the device describes: QEMU's virtio-mmio tells every driver that it may have as
/// many (`VIRTQUEUE_MAX_SIZE`), and Linux takes as many as it may.
const MOST_DESCRIPTORS: u16 = 1024;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("ring {0} does not exist")]
    NoSuchRing(u32),
    #[error("ring {ring} cannot have {size} descriptors")]
    RingSize { ring: u32, size: u32 },
    #[error("ring {ring} cannot start at index {base}")]
    RingBase { ring: u32, base: u32 },
    #[error("ring {0} comes without a descriptor for kicks, but polling is not offered")]
    NoKick(u8),
    #[error("features {0:#x} were not offered")]
    Features(u64),
    #[error("modern virtio (VIRTIO_F_VERSION_1) was not negotiated")]
    Legacy,
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot duplicate a descriptor")]
    Duplicate(#[source] io::Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::ReqHandlerError(io::Error::other(refusal))
    }
}

/// A device and what its peer has said about it so far.
pub(super) struct Session {
    device: Box<dyn VirtioDevice>,
    description: Description,
    features: u64,
    memory: Option<MemoryTable>,
    rings: Vec<Ring>,
}

impl Session {
    pub(super) fn new(name: &str, device: Box<dyn VirtioDevice>) -> Self {
        let description = device.describe();
        let rings =
            (0..description.queue_sizes.len()).map(|index| Ring::new(format!("{name} queue {index}"))).collect();
        Self { device, description, features: 0, memory: None, rings }
    }

    /// Stops every ring.
    pub(super) fn stop_all(&mut self) {
        for index in 0..self.rings.len() {
            self.stop(index);
        }
    }

    fn index(&self, ring: impl Into<u32>) -> std::result::Result<usize, Refusal> {
        let ring = ring.into();
        let index = usize::try_from(ring).ok().filter(|&index| index < self.rings.len());
        index.ok_or(Refusal::NoSuchRing(ring))
    }

    /// Changes a ring, for which it is stopped, and runs it again or for the first time if it has all it needs.
    fn change(&mut self, index: usize, change: impl FnOnce(&mut Ring)) -> std::result::Result<(), Refusal> {
        self.stop(index);
        change(&mut self.rings[index]);
        self.start(index)
    }

    fn stop(&mut self, index: usize) {
        if !std::mem::take(&mut self.rings[index].running) {
            return;
        }
        if let Some(state) = self.device.stop_queue(number(index)) {
            self.rings[index].base = state.next_available;
        }
    }

    fn start(&mut self, index: usize) -> std::result::Result<(), Refusal> {
        let (ring, Some(memory)) = (&mut self.rings[index], &self.memory) else { return Ok(()) };
        let Some((kick, size, layout)) = ring.ready() else { return Ok(()) };
        if self.features & (1 << VIRTIO_F_VERSION_1) == 0 {
            return Err(Refusal::Legacy);
        }
        let kick = kick.try_clone().map_err(Refusal::Duplicate)?;
        // Where its rings are is the driver's choice, so a bad place breaks the ring and not the connection.
        let Some(queue) = ring.queue(memory, size, layout, kick, self.features) else { return Ok(()) };
        self.device.start_queue(number(index), queue)?;
        ring.running = true;
        Ok(())
    }
}

fn number(index: usize) -> u16 {
    u16::try_from(index).expect("a device describes far fewer queues than 65536")
}

fn not_offered<T>() -> Result<T> {
    Err(Error::InvalidOperation("the feature that this request belongs to was not offered"))
}

impl VhostUserBackendReqHandlerMut for Session {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        // Deprecated; front-ends that still send it mean that the rings are to rest.
        self.stop_all();
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        not_offered()
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.description.features | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits())
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !self.get_features()? != 0 {
            return Err(Refusal::Features(features).into());
        }
        self.stop_all();
        self.features = features;
        // Without protocol features there is no request to enable a ring.
        let always_enabled = features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() == 0;
        for index in 0..self.rings.len() {
            self.rings[index].enabled |= always_enabled;
            self.start(index)?;
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let memory = MemoryTable::map(regions, files).map_err(Refusal::from)?;
        self.stop_all();
        self.memory = Some(memory);
        for index in 0..self.rings.len() {
            self.start(index)?;
        }
        Ok(None)
    }

    fn set_vring_num(&mut self, ring: u32, size: u32) -> Result<()> {
        let index = self.index(ring)?;
        let size = u16::try_from(size)
            .ok()
            .filter(|&size| size.is_power_of_two() && size <= MOST_DESCRIPTORS)
            .ok_or(Refusal::RingSize { ring, size })?;
        Ok(self.change(index, |ring| ring.size = Some(size))?)
    }

    fn set_vring_addr(
        &mut self,
        ring: u32,
        _flags: VhostUserVringAddrFlags,
        descriptors: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let index = self.index(ring)?;
        Ok(self.change(index, |ring| ring.layout = Some(UserLayout { descriptors, available, used }))?)
    }

    fn set_vring_base(&mut self, ring: u32, base: u32) -> Result<()> {
        let index = self.index(ring)?;
        let base = u16::try_from(base).map_err(|_| Refusal::RingBase { ring, base })?;
        Ok(self.change(index, |ring| ring.base = base)?)
    }

    fn get_vring_base(&mut self, ring: u32) -> Result<VhostUserVringState> {
        let index = self.index(ring)?;
        self.stop(index);
        self.rings[index].kick = None;
        Ok(VhostUserVringState::new(ring, self.rings[index].base.into()))
    }

    fn set_vring_kick(&mut self, ring: u8, kick: Option<File>) -> Result<()> {
        let index = self.index(ring)?;
        let kick = kick.ok_or(Refusal::NoKick(ring))?;
        Ok(self.change(index, |ring| ring.set_kick(kick))?)
    }

    fn set_vring_call(&mut self, ring: u8, call: Option<File>) -> Result<()> {
        let index = self.index(ring)?;
        self.rings[index].set_call(call);
        Ok(())
    }

    fn set_vring_err(&mut self, ring: u8, error: Option<File>) -> Result<()> {
        let index = self.index(ring)?;
        self.rings[index].set_error(error);
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        // REPLY_ACK is the wire's own.
        Ok(VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::CONFIG | VhostUserProtocolFeatures::REPLY_ACK)
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        match features & !self.get_protocol_features()?.bits() {
            0 => Ok(()),
            _ => Err(Refusal::Features(features).into()),
        }
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.rings.len() as u64)
    }

    fn set_vring_enable(&mut self, ring: u32, enable: bool) -> Result<()> {
        let index = self.index(ring)?;
        if self.rings[index].enabled == enable {
            return Ok(());
        }
        Ok(self.change(index, |ring| ring.enabled = enable)?)
    }

    fn get_config(&mut self, offset: u32, size: u32, _flags: VhostUserConfigFlags) -> Result<Vec<u8>> {
        // The wire bounds the size by 4096.
        let mut config = vec![0; usize::try_from(size).map_err(|_| Error::InvalidParam)?];
        self.device.read_config(offset.into(), &mut config);
        Ok(config)
    }

    fn set_config(&mut self, offset: u32, config: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        self.device.write_config(offset.into(), config);
        Ok(())
    }

    fn set_gpu_socket(&mut self, _socket: GpuBackend) -> Result<()> {
        not_offered()
    }

    fn get_shared_object(&mut self, _object: VhostUserSharedMsg) -> Result<File> {
        not_offered()
    }

    fn get_inflight_fd(&mut self, _inflight: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        not_offered()
    }

    fn set_inflight_fd(&mut self, _inflight: &VhostUserInflight, _file: File) -> Result<()> {
        not_offered()
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        not_offered()
    }

    fn add_mem_region(
        &mut self,
        _region: &VhostUserSingleMemoryRegion,
        _file: File,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        not_offered()
    }

    fn remove_mem_region(&mut self, _region: &VhostUserSingleMemoryRegion) -> Result<()> {
        not_offered()
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _file: File,
    ) -> Result<Option<File>> {
        not_offered()
    }

    fn check_device_state(&mut self) -> Result<()> {
        not_offered()
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        not_offered()
    }

    fn set_log_base(&mut self, _log: &VhostUserLog, _file: File) -> Result<()> {
        not_offered()
    }
}
