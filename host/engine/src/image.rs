//! From what a user calls an image to its root file system and configuration: what a container is made of.
//!
//! Images come from the store (crate `hull-image`), which is in the state directory. One is built in and lies among the
//! assets, a directory with `rootfs.erofs` and `image.json`; it needs no store. An image of the store with its name goes
//! before it.

use crate::assets::Assets;
use crate::engine::Engine;
use crate::error::EngineError;
use hull_image::archive::ArchiveError;
use hull_image::credentials::CredentialError;
use hull_image::platform::Platform;
use hull_image::reference::ReferenceError;
use hull_image::registry::{RegistryError, SettingsError};
use hull_image::store::{Hold, Settings};
use hull_image::{Reference, Store, StoreError, StoredImage};
use oci_spec::image::ImageConfiguration;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::PathBuf;

/// The built-in image.
const BUILT_IN: &str = "docker.io/hull/busybox:latest";

/// The largest configuration that is read, as in the store.
const MAX_CONFIGURATION: u64 = 8 << 20;

/// An image that is there, to make a container of. While this lives, nobody takes the image away.
#[derive(Debug)]
pub struct Image<'a> {
    /// Its identifier. A built-in image has one layer, whose diff ID serves.
    pub id: String,
    /// Its root file system, an EROFS image: files that are mapped one behind the other.
    pub rootfs: Vec<PathBuf>,
    /// Its configuration.
    pub configuration: ImageConfiguration,
    /// What it asks for and does not get, a line each.
    pub notes: Vec<String>,
    pub(crate) _hold: Option<Hold<'a>>,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The name is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A built-in image's file is missing.
    #[error("cannot read {} of the built-in image: `./x run` in hull's source tree makes it", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its configuration is malformed.
    #[error("{} is not an OCI image configuration", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// It is made for something else.
    #[error("image '{reference}' is for {found}, and containers run on {expected} here")]
    Platform {
        /// The image.
        reference: String,
        /// What it is made for.
        found: String,
        /// What the guests are.
        expected: String,
    },
    /// It is built in, so that it is neither pulled nor removed.
    #[error("{0} is built in: it comes with hull")]
    BuiltIn(String),
    /// The store.
    #[error(transparent)]
    Store(StoreError),
    /// A registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// How registries are reached.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Who the user is there.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// An archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl From<ImageError> for EngineError {
    fn from(error: ImageError) -> Self {
        Self::Image(Box::new(error))
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(reference) => Self::NoSuchImage(reference),
            other => ImageError::Store(other).into(),
        }
    }
}

macro_rules! through_image_error {
    ($($error:ty),*) => { $(
        impl From<$error> for EngineError {
            fn from(error: $error) -> Self {
                ImageError::from(error).into()
            }
        }
    )* };
}
through_image_error!(ReferenceError, RegistryError, SettingsError, CredentialError, ArchiveError);

impl Engine {
    /// The store of images, which is made on first use.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn store(&self) -> Result<&Store, EngineError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let drop_blobs = std::env::var_os("HULL_DROP_BLOBS").is_some_and(|value| !value.is_empty());
        let settings = Settings { keep_blobs: !drop_blobs, ..Settings::default() };
        let store = Store::open_with(&self.root.images_path(), settings)?;
        Ok(self.store.get_or_init(|| store))
    }

    /// The store of images, unless there is none because there has never been an image.
    fn existing_store(&self) -> Result<Option<&Store>, EngineError> {
        if self.store.get().is_none() && !Store::exists(&self.root.images_path()) {
            return Ok(None);
        }
        self.store().map(Some)
    }

    /// The image of the store that a user calls so, by name or id.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn stored_image(&self, name_or_id: &str) -> Result<StoredImage, EngineError> {
        let found = match self.existing_store()? {
            Some(store) => store.resolve(name_or_id),
            None => Err(StoreError::NotFound(name_or_id.to_owned())),
        };
        match found {
            Err(StoreError::NotFound(_)) => Err(not_found(name_or_id)),
            other => Ok(other?),
        }
    }

    /// The image that a user calls so, to make a container of it on the guests that run here. One that was made for
    /// something else than `platform` does not count as being there.
    ///
    /// # Errors
    /// [`EngineError::NoSuchImage`]; it is made for another processor; it is damaged.
    pub fn image(&self, reference: &str, platform: Option<&Platform>) -> Result<Image<'_>, EngineError> {
        let stored = match self.stored_image(reference) {
            Err(error @ EngineError::NoSuchImage(_)) => {
                return if is_built_in(reference) { Ok(built_in(self.assets()?, reference)?) } else { Err(error) };
            }
            other => other?,
        };
        let found = Platform::of_configuration(&stored.configuration);
        if platform.is_some_and(|platform| !platform.accepts(&found)) {
            return Err(EngineError::NoSuchImage(format!("{reference} for the platform that was asked for")));
        }
        check_platform(reference, &stored.configuration)?;
        let store = self.store()?;
        let hold = store.hold(&stored)?;
        let rootfs = store.rootfs(&stored)?.pieces.into_iter().map(|piece| piece.path).collect();
        let document = store.read_blob(&stored.id, MAX_CONFIGURATION)?;
        let notes = notes(&serde_json::from_slice(&document).unwrap_or_default());
        let id = stored.id.to_string();
        Ok(Image { id, rootfs, configuration: stored.configuration, notes, _hold: Some(hold) })
    }
}

/// The error for an image that is not there: what it is called, whole, or why that cannot be a name.
fn not_found(name_or_id: &str) -> EngineError {
    let is_id = name_or_id.len() == 64 && name_or_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    match Reference::parse(name_or_id) {
        Ok(reference) => EngineError::NoSuchImage(reference.familiar()),
        Err(_) if is_id => EngineError::NoSuchImage(name_or_id.to_owned()),
        Err(error) => error.into(),
    }
}

/// Whether a user means the image that comes with hull.
pub fn is_built_in(reference: &str) -> bool {
    Reference::parse(reference).is_ok_and(|reference| reference.to_string() == BUILT_IN)
}

/// The image that comes with hull.
///
/// # Errors
/// It is not among the assets.
pub(crate) fn built_in(assets: &Assets, reference: &str) -> Result<Image<'static>, ImageError> {
    let directory = assets.image("hull/busybox");
    let path = directory.join("image.json");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(source) => return Err(ImageError::Unreadable { path, source }),
    };
    let configuration = serde_json::from_slice::<ImageConfiguration>(&text)
        .map_err(|source| ImageError::Malformed { path: path.clone(), source })?;
    check_platform(reference, &configuration)?;
    let rootfs = directory.join("rootfs.erofs");
    if let Err(source) = fs::metadata(&rootfs) {
        return Err(ImageError::Unreadable { path: rootfs, source });
    }
    let id = configuration.rootfs().diff_ids().last().cloned().unwrap_or_default();
    Ok(Image { id, rootfs: vec![rootfs], configuration, notes: Vec::new(), _hold: None })
}

fn check_platform(reference: &str, configuration: &ImageConfiguration) -> Result<(), ImageError> {
    let (found, expected) = (Platform::of_configuration(configuration), Platform::of_guest());
    if expected.accepts(&found) {
        return Ok(());
    }
    let (found, expected) = (found.to_string(), expected.to_string());
    Err(ImageError::Platform { reference: reference.to_owned(), found, expected })
}

/// What a configuration asks for that hull does not do, or does in another way.
fn notes(configuration: &Value) -> Vec<String> {
    let config = &configuration["config"];
    let mut notes = Vec::new();
    let test = config["Healthcheck"]["Test"].as_array();
    if test.is_some_and(|test| test.first().is_some_and(|kind| kind != "NONE")) {
        notes.push("the image's health check is not run: hull has none yet".to_owned());
    }
    let volumes = config["Volumes"].as_object().into_iter().flatten();
    let volumes = volumes.map(|(path, _)| path.as_str()).collect::<Vec<_>>();
    if !volumes.is_empty() {
        notes.push(format!(
            "the image wants volumes at {}: hull has none yet, so what is written there goes with the container",
            volumes.join(", ")
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_built_in_image_is_known_by_all_its_names() {
        for name in ["hull/busybox", "hull/busybox:latest", "docker.io/hull/busybox"] {
            assert!(is_built_in(name), "{name}");
        }
        for name in ["hull/busybox:1.36", "busybox", "localhost/hull/busybox", "", "hull"] {
            assert!(!is_built_in(name), "{name}");
        }
    }

    #[test]
    fn what_is_not_there_is_said_in_full_and_what_is_no_name_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open_at(directory.path()).unwrap();
        let error = |name: &str| engine.image(name, None).unwrap_err();
        assert!(matches!(error("alpine"), EngineError::NoSuchImage(name) if name == "alpine:latest"));
        assert!(matches!(error("0123abcd"), EngineError::NoSuchImage(_)));
        let id = "a".repeat(64);
        assert!(matches!(error(&id), EngineError::NoSuchImage(_)));
        for name in ["", "UPPER", "a b", "../../etc/passwd", "x:", "-x"] {
            assert!(error(name).to_string().contains("invalid reference"), "{name}");
        }
        assert!(!engine.root.images_path().exists(), "looking makes no store");
    }

    #[test]
    fn the_built_in_image_is_read_from_the_assets() {
        let directory = tempfile::tempdir().unwrap();
        let assets = Assets::at(directory.path());
        let find = || built_in(&assets, "hull/busybox");
        assert!(matches!(find(), Err(ImageError::Unreadable { .. })));

        let image = directory.path().join("images/hull/busybox");
        fs::create_dir_all(&image).unwrap();
        let architecture = Platform::of_guest().architecture;
        let json = format!(
            r#"{{"os":"linux","architecture":"{architecture}","config":{{"Cmd":["sh"]}},
                "rootfs":{{"type":"layers","diff_ids":["sha256:0123"]}}}}"#
        );
        fs::write(image.join("image.json"), json).unwrap();
        assert!(matches!(find(), Err(ImageError::Unreadable { .. })));
        fs::write(image.join("rootfs.erofs"), "").unwrap();
        let found = find().unwrap();
        assert_eq!(found.id, "sha256:0123");
        assert_eq!(found.configuration.config().as_ref().unwrap().cmd().as_deref(), Some(&["sh".to_owned()][..]));

        fs::write(
            image.join("image.json"),
            r#"{"os":"windows","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#,
        )
        .unwrap();
        assert!(matches!(find(), Err(ImageError::Platform { .. })));
    }

    #[test]
    fn what_an_image_does_not_get_is_said() {
        let full = json!({"config": {"Healthcheck": {"Test": ["CMD", "true"]}, "Volumes": {"/data": {}, "/log": {}}}});
        let said = notes(&full);
        assert!(said[0].contains("health check") && said[1].contains("/data, /log"), "{said:?}");
        for none in [json!({}), json!({"config": {"Healthcheck": {"Test": ["NONE"]}, "Volumes": null}})] {
            assert_eq!(notes(&none), Vec::<String>::new());
        }
    }
}
