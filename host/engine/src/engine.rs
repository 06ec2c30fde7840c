//! The engine itself: the state directory, opened and settled, and the assets, found when they are first needed.

use crate::assets::Assets;
use crate::backend::Chosen;
use crate::error::EngineError;
use hull_image::Store;
use hull_state::{ContainerDir, StateError, StateRoot};
use std::path::Path;
use std::sync::OnceLock;

/// Everything that can be done with containers and VMs.
#[derive(Debug)]
pub struct Engine {
    pub(crate) root: StateRoot,
    assets: OnceLock<Assets>,
    pub(crate) store: OnceLock<Store>,
    /// The backend that `auto` stands for: finding out may take time.
    pub(crate) automatic: OnceLock<Chosen>,
}

impl Engine {
    /// Opens the user's state directory (`HULL_ROOT` and the rules of `hull_platform::dirs`), and records what became
    /// of containers whose VM's shim has died.
    ///
    /// # Errors
    /// The directory cannot be written, or belongs to another version.
    pub fn open() -> Result<Self, EngineError> {
        Self::open_at(&hull_platform::dirs::data_root()?)
    }

    /// As [`Engine::open`], with this directory.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_at(root: &Path) -> Result<Self, EngineError> {
        let engine = Self {
            root: StateRoot::open(root).map_err(|error| unusable(root, error))?,
            assets: OnceLock::new(),
            store: OnceLock::new(),
            automatic: OnceLock::new(),
        };
        engine.settle()?;
        Ok(engine)
    }

    /// The state directory.
    pub fn state(&self) -> &StateRoot {
        &self.root
    }

    /// The files that the build made.
    ///
    /// # Errors
    /// Their directory is not there.
    pub fn assets(&self) -> Result<&Assets, EngineError> {
        if let Some(assets) = self.assets.get() {
            return Ok(assets);
        }
        let assets = Assets::find()?;
        Ok(self.assets.get_or_init(|| assets))
    }

    /// The container that the user calls `reference`: a name, an id, or the beginning of one.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find(&self, reference: &str) -> Result<ContainerDir, EngineError> {
        let name = reference.strip_prefix('/').unwrap_or(reference);
        self.root.find_container(name).map_err(|error| match error {
            StateError::NotFound { .. } => EngineError::NoSuchContainer(reference.to_owned()),
            StateError::Ambiguous { .. } => EngineError::Ambiguous(reference.to_owned()),
            other => other.into(),
        })
    }
}

/// Why there can be no state here, and what to do about it.
fn unusable(root: &Path, error: StateError) -> EngineError {
    let why = match &error {
        StateError::NotWritable(_) => "permission denied".to_owned(),
        StateError::Io { source, .. } => source.to_string(),
        _ => return error.into(),
    };
    let root = root.display();
    EngineError::Invalid(format!(
        "cannot write to the state directory {root}: {why}; set HULL_ROOT to a directory that can be written"
    ))
}
