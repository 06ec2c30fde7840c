//! The directory of one container.

use crate::StateError;
use crate::document;
use crate::record::{ContainerRecord, ContainerState, Status};
use crate::shelf::Shelf;
use hull_platform::file;
use hull_platform::lock::FileLock;
use hull_protocol::{ContainerId, exit};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The directory of one container, which may or may not exist.
#[derive(Debug, Clone)]
pub struct ContainerDir {
    shelf: Shelf,
    id: ContainerId,
    path: PathBuf,
}

impl ContainerDir {
    pub(crate) fn new(shelf: Shelf, id: ContainerId) -> Self {
        let path = shelf.entries.join(id.as_str());
        Self { shelf, id, path }
    }

    /// Its id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the user asked.
    ///
    /// # Errors
    /// It does not exist, was written by another version, or is damaged.
    pub fn record(&self) -> Result<ContainerRecord, StateError> {
        document::read_record(&self.path.join(self.shelf.record))
    }

    /// What became of it. The truth about a running container is what its VM's shim says: see [`Status::Running`].
    ///
    /// # Errors
    /// It does not exist, or the state is damaged.
    pub fn state(&self) -> Result<ContainerState, StateError> {
        let path = self.state_path();
        match fs::read(&path) {
            // What a power cut leaves on some file systems of a state that was not yet on the disk.
            Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => Ok(lost()),
            Ok(bytes) => document::parse(&path, &bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => match self.exists() {
                true => Ok(ContainerState::created()),
                false => Err(StateError::NotFound { what: self.shelf.what, reference: self.id.to_string() }),
            },
            Err(error) => Err(StateError::io("read", &path)(error)),
        }
    }

    /// Replaces the state. To be called by the shim while it holds the VM's lock, or by a command that holds the
    /// container's lock while no live shim has the container.
    ///
    /// The state of a running container is not forced to the disk: if the host loses power, nothing runs afterwards,
    /// whatever the file says. That of an ended one is.
    ///
    /// # Errors
    /// It does not exist, and those of the disk.
    pub fn write_state(&self, state: &ContainerState) -> Result<(), StateError> {
        let path = self.state_path();
        let bytes = document::encode(&path, state)?;
        let written = match state.status {
            Status::Created | Status::Running => file::replace(&path, &bytes),
            Status::Exited => file::write_atomic(&path, &bytes),
        };
        written.map_err(StateError::io("write", &path))
    }

    /// The file of its writable layer.
    pub fn data_path(&self) -> PathBuf {
        self.path.join("data.img")
    }

    /// The directory of its logs: see [`crate::log`]. Made by the first writer.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Waits until no other command acts on it.
    ///
    /// # Errors
    /// It does not exist, or was removed while waiting.
    pub fn lock(&self) -> Result<FileLock, StateError> {
        let path = self.path.join(Shelf::LOCK);
        FileLock::acquire(&path).map_err(StateError::io("lock", &path))
    }

    /// Removes it: at one instant nobody finds it any more and its name is free; then its files go. If this process dies
    /// in between, the next command that lists containers deletes the rest.
    ///
    /// # Errors
    /// It does not exist, and those of the disk.
    pub fn remove(self) -> Result<(), StateError> {
        let name = self.record().ok().map(|record| record.name);
        self.shelf.remove(self.id.as_str(), name.as_deref())
    }

    fn exists(&self) -> bool {
        self.shelf.has(self.id.as_str())
    }

    fn state_path(&self) -> PathBuf {
        self.path.join("state.json")
    }
}

/// A state is only ever written once a container has been started.
fn lost() -> ContainerState {
    ContainerState {
        status: Status::Exited,
        exit_code: exit::KILLED,
        error: Some("the host stopped before its state was on the disk".to_owned()),
        ..ContainerState::created()
    }
}
