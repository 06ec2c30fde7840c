//! The directory of one VM.

use crate::StateError;
use crate::container::ContainerDir;
use crate::document;
use crate::record::VmRecord;
use crate::shelf::Shelf;
use hull_platform::dirs;
use hull_platform::lock::FileLock;
use hull_protocol::VmId;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};

/// Holds the path of the shim's socket.
const SOCKET_FILE: &str = "socket";

const CONSOLE_LOG: &str = "console.log";
const SHIM_LOG: &str = "shim.log";
/// The end of a console that has outgrown the first file.
const CONSOLE_END_LOG: &str = "console.log.end";

/// The directory of one VM, which may or may not exist.
#[derive(Debug, Clone)]
pub struct VmDir {
    shelf: Shelf,
    id: VmId,
    path: PathBuf,
}

impl VmDir {
    pub(crate) fn new(shelf: Shelf, id: VmId) -> Self {
        let path = shelf.entries.join(id.as_str());
        Self { shelf, id, path }
    }

    /// Fixes where the shim will listen. It stands in the directory because commands in other sessions (cron, ssh) have
    /// another environment, and so another runtime directory.
    pub(crate) fn write_socket_path(draft: &Path, id: &VmId) -> Result<(), StateError> {
        let path = draft.join(SOCKET_FILE);
        // Without a usable runtime directory the shim will say what is wrong: it has to listen there.
        let Ok(socket) = socket_path_here(id) else { return Ok(()) };
        let Some(text) = socket.to_str() else { return Ok(()) };
        fs::write(&path, text).map_err(StateError::io("write", &path))
    }

    /// Its id.
    pub fn id(&self) -> &VmId {
        &self.id
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is.
    ///
    /// # Errors
    /// It does not exist, was written by another version, or is damaged.
    pub fn record<P: DeserializeOwned>(&self) -> Result<VmRecord<P>, StateError> {
        document::read_record(&self.path.join(self.shelf.record))
    }

    /// Its lock, unless a shim holds it. The lock says that no shim is alive, and keeps others from starting one.
    ///
    /// # Errors
    /// It does not exist.
    pub fn try_lock(&self) -> Result<Option<FileLock>, StateError> {
        let path = self.lock_path();
        FileLock::try_acquire(&path).map_err(StateError::io("lock", &path))
    }

    /// Whether a shim, or the command that is about to start one, holds its lock.
    pub fn is_alive(&self) -> bool {
        FileLock::is_held(&self.lock_path()).unwrap_or(false)
    }

    /// Where its shim listens.
    pub fn socket_path(&self) -> PathBuf {
        let recorded = fs::read_to_string(self.path.join(SOCKET_FILE)).ok().filter(|text| !text.is_empty());
        // What remains is a directory in which there is no socket: nobody can be reached there.
        recorded
            .map(PathBuf::from)
            .or_else(|| socket_path_here(&self.id).ok())
            .unwrap_or_else(|| self.path.join("shim.sock"))
    }

    /// Waits until no other command is about to start its shim. The VM's own lock is of no use for that: it goes over to
    /// the shim before the shim listens.
    ///
    /// # Errors
    /// It does not exist.
    pub fn lock_start(&self) -> Result<FileLock, StateError> {
        let path = self.path.join("start.lock");
        FileLock::acquire(&path).map_err(StateError::io("lock", &path))
    }

    /// What the guest's kernel prints; what is too much for this file goes on in `console.log.end`.
    pub fn console_path(&self) -> PathBuf {
        self.path.join(CONSOLE_LOG)
    }

    /// What the shim has to say.
    pub fn shim_log_path(&self) -> PathBuf {
        self.path.join(SHIM_LOG)
    }

    /// Where a person can read, from now on, what led to its end, as a pattern of paths; none if nothing was written.
    /// With `heir`, the container that the VM goes with, the logs are moved there: the VM's directory will be removed.
    pub fn keep_logs(&self, heir: Option<&ContainerDir>) -> Option<PathBuf> {
        let written = |log: &&str| fs::metadata(self.path.join(log)).is_ok_and(|log| log.len() > 0);
        let mut told = [CONSOLE_LOG, CONSOLE_END_LOG, SHIM_LOG].into_iter().filter(written);
        let Some(heir) = heir else { return told.next().map(|_| self.path.join("*.log*")) };
        // A container that was to be removed is gone.
        let moved = told.filter(|log| fs::rename(self.path.join(log), heir.path().join(format!("vm-{log}"))).is_ok());
        (moved.count() > 0).then(|| heir.path().join("vm-*.log*"))
    }

    /// Removes it: at one instant nobody finds it any more and its name is free; then its files go. To be called by who
    /// holds its lock. The socket is not touched.
    ///
    /// # Errors
    /// It does not exist, and those of the disk.
    pub fn remove(self) -> Result<(), StateError> {
        let name = self.record::<serde::de::IgnoredAny>().ok().and_then(|record| record.name);
        self.shelf.remove(self.id.as_str(), name.as_deref())
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join(Shelf::LOCK)
    }
}

fn socket_path_here(id: &VmId) -> Result<PathBuf, dirs::DirsError> {
    Ok(dirs::runtime_dir()?.join(format!("{id}.sock")))
}
