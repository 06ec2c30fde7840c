//! What can go wrong, as one line for the user, with the exit status that Docker's command line gives it.

use crate::assets::AssetsError;
use crate::image::ImageError;
use crate::spec::SpecError;
use hull_machine::backend::MachineError;
use hull_platform::dirs::DirsError;
use hull_protocol::exit;
use hull_protocol::frame::FrameError;
use hull_protocol::shim::ShimError;
use hull_state::StateError;
use std::io;

/// A failed engine call.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// No place for state.
    #[error(transparent)]
    Dirs(#[from] DirsError),
    /// Something that the build makes.
    #[error(transparent)]
    Assets(#[from] AssetsError),
    /// The image.
    #[error(transparent)]
    Image(Box<ImageError>),
    /// No image is called so.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// A setting of the container.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The backend or the kernel.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// No backend, or not the one that was asked for.
    #[error("{0}")]
    Backend(String),
    /// Something the user said makes no sense; the line says what and what to do.
    #[error("{0}")]
    Invalid(String),
    /// A container, by what the user called it.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// A VM, by what the user called it.
    #[error("No such VM: {0}")]
    NoSuchVm(String),
    /// Several containers or VMs begin like this.
    #[error("Multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    /// The name belongs to another.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        id: String,
    },
    /// The call needs a running container.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// A container that runs is only removed by force.
    #[error(
        "cannot remove container \"/{0}\": container is running: stop the container before removing or force remove"
    )]
    RemoveRunning(String),
    /// A file of ours.
    #[error("cannot {action}")]
    Io {
        /// What was being done, with the path.
        action: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The shim answered that it could not.
    #[error(transparent)]
    Shim(#[from] ShimError),
    /// The shim could not start its VM, or died; one line.
    #[error("{0}")]
    Vm(String),
    /// The shim is not there any more.
    #[error("the VM's shim has died")]
    VmGone,
    /// A frame from the shim made no sense.
    #[error("the VM's shim does not answer as it should")]
    Frame(#[source] FrameError),
}

impl EngineError {
    /// The exit status of `hull run` and `hull exec` for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Shim(error) => error.code.exit_status(),
            _ => exit::HULL,
        }
    }

    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
