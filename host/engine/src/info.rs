//! `hull info`: where things are and how many there are.

use crate::engine::Engine;
use crate::error::EngineError;
use hull_state::Status;
use serde::Serialize;

/// What there is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// All containers.
    pub containers: usize,
    /// Those that run.
    pub containers_running: usize,
    /// None can be paused yet; Docker's tools look for the field.
    pub containers_paused: usize,
    /// Those that do not run.
    pub containers_stopped: usize,
    /// Running VMs.
    #[serde(rename = "VMsRunning")]
    pub vms_running: usize,
    /// hull's version.
    pub server_version: &'static str,
    /// `linux`, whatever the host.
    #[serde(rename = "OSType")]
    pub os_type: &'static str,
    /// Of the guests.
    pub architecture: &'static str,
    /// The host's processors.
    #[serde(rename = "NCPU")]
    pub cpus: usize,
    /// The state directory.
    pub data_root: String,
    /// The directory of sockets.
    pub runtime_dir: String,
    /// The directory of the guest kernel and so on, if it was found.
    pub assets: Option<String>,
    /// The backend that runs VMs here when nothing else is asked, if there is one.
    pub backend: Option<String>,
    /// Whether it is a software CPU.
    pub software_cpu: bool,
}

impl Engine {
    /// What there is.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn info(&self) -> Result<Info, EngineError> {
        let entries = self.list()?;
        let running = entries.iter().filter(|entry| entry.state.status == Status::Running).count();
        let backend = self.choose_backend(None).ok();
        Ok(Info {
            containers: entries.len(),
            containers_running: running,
            containers_paused: 0,
            containers_stopped: entries.len() - running,
            vms_running: self.list_vms()?.iter().filter(|vm| vm.running).count(),
            server_version: env!("CARGO_PKG_VERSION"),
            os_type: "linux",
            architecture: std::env::consts::ARCH,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            data_root: self.root.path().display().to_string(),
            runtime_dir: hull_platform::dirs::runtime_dir()?.display().to_string(),
            assets: self.assets().ok().map(|assets| assets.path().display().to_string()),
            software_cpu: backend.as_ref().is_some_and(|backend| backend.software),
            backend: backend.map(|backend| backend.name.to_owned()),
        })
    }
}
