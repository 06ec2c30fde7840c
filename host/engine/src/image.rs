//! From an image's name to its root file system and configuration.
//!
//! For now hull has built-in images only, which lie among the assets, one directory each: `rootfs.erofs` and
//! `image.json` (an OCI image configuration). Pulling and a store of images will take the place of [`Images`]; what
//! the rest of the engine sees of an image is [`Image`].

use crate::assets::Assets;
use oci_spec::image::ImageConfiguration;
use std::fs;
use std::io;
use std::path::PathBuf;

/// The built-in images.
const BUILT_IN: [&str; 1] = ["hull/busybox"];

/// An image that is there.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its identifier. A built-in image has one layer, whose diff ID serves.
    pub id: String,
    /// Its root file system, an EROFS image.
    pub rootfs: PathBuf,
    /// Its configuration.
    pub configuration: ImageConfiguration,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The name is none.
    #[error("invalid reference format: {0:?}{1}")]
    Reference(String, &'static str),
    /// It is not there.
    #[error("Unable to find image '{0}' locally, and this version of hull cannot pull; built in is: {list}", list = BUILT_IN.join(", "))]
    Unknown(String),
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
    #[error("image '{reference}' is for {os}/{architecture}, not linux/{expected}")]
    Platform {
        /// The image.
        reference: String,
        /// Its operating system.
        os: String,
        /// Its processor.
        architecture: String,
        /// The guest's processor.
        expected: &'static str,
    },
}

/// The images that hull has.
#[derive(Debug, Clone)]
pub struct Images<'a> {
    assets: &'a Assets,
}

impl<'a> Images<'a> {
    /// Those among the assets.
    pub fn new(assets: &'a Assets) -> Self {
        Self { assets }
    }

    /// Finds the image that a user calls `reference`.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn resolve(&self, reference: &str) -> Result<Image, ImageError> {
        let Reference { repository, tag } = Reference::parse(reference)?;
        if tag != "latest" || !BUILT_IN.contains(&repository.as_str()) {
            return Err(ImageError::Unknown(format!("{repository}:{tag}")));
        }
        let directory = self.assets.image(&repository);
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
        Ok(Image { id, rootfs, configuration })
    }
}

fn check_platform(reference: &str, configuration: &ImageConfiguration) -> Result<(), ImageError> {
    let (os, architecture) = (configuration.os().to_string(), configuration.architecture().to_string());
    let expected = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    if os == "linux" && architecture == expected {
        return Ok(());
    }
    Err(ImageError::Platform { reference: reference.to_owned(), os, architecture, expected })
}

/// A reference in its familiar form: Docker Hub's domain and the tag `latest` go without saying.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    repository: String,
    tag: String,
}

impl Reference {
    fn parse(text: &str) -> Result<Self, ImageError> {
        let invalid = |why| ImageError::Reference(text.chars().take(300).collect(), why);
        let name = text.strip_prefix("docker.io/").unwrap_or(text);
        // A colon before a slash belongs to a registry's port.
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (name, "latest"),
        };
        if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid(": repository name must be lowercase"));
        }
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-:@".contains(&byte);
        let component =
            |part: &str| !part.is_empty() && part.bytes().all(inner) && part.as_bytes()[0].is_ascii_alphanumeric();
        let tag_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !repository.split('/').all(component) || tag.is_empty() || tag.len() > 128 || !tag.bytes().all(tag_byte) {
            return Err(invalid(""));
        }
        Ok(Self { repository: repository.to_owned(), tag: tag.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Option<(String, String)> {
        Reference::parse(text).ok().map(|Reference { repository, tag }| (repository, tag))
    }

    #[test]
    fn references_take_their_familiar_form() {
        let parsed = |repository: &str, tag: &str| Some((repository.to_owned(), tag.to_owned()));
        assert_eq!(reference("hull/busybox"), parsed("hull/busybox", "latest"));
        assert_eq!(reference("docker.io/hull/busybox:1.36"), parsed("hull/busybox", "1.36"));
        assert_eq!(reference("localhost:5000/x"), parsed("localhost:5000/x", "latest"));
        assert_eq!(reference("localhost:5000/x:y"), parsed("localhost:5000/x", "y"));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for bad in ["", "/", "a//b", "../etc/passwd", "hull/../x", "Hull/busybox", "x:", "x:a b", "-x", "x y", "ä"] {
            assert_eq!(reference(bad), None, "{bad}");
        }
        assert!(Reference::parse("Alpine").unwrap_err().to_string().contains("must be lowercase"));
    }

    #[test]
    fn built_in_images_are_read_from_the_assets_and_others_are_unknown() {
        let directory = tempfile::tempdir().unwrap();
        let assets = Assets::at(directory.path());
        let images = Images::new(&assets);
        assert!(matches!(images.resolve("alpine"), Err(ImageError::Unknown(name)) if name == "alpine:latest"));
        assert!(matches!(images.resolve("hull/busybox"), Err(ImageError::Unreadable { .. })));

        let image = directory.path().join("images/hull/busybox");
        fs::create_dir_all(&image).unwrap();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let json = format!(
            r#"{{"os":"linux","architecture":"{architecture}","config":{{"Cmd":["sh"]}},
                "rootfs":{{"type":"layers","diff_ids":["sha256:0123"]}}}}"#
        );
        fs::write(image.join("image.json"), json).unwrap();
        assert!(matches!(images.resolve("hull/busybox"), Err(ImageError::Unreadable { .. })));
        fs::write(image.join("rootfs.erofs"), "").unwrap();
        let found = images.resolve("hull/busybox:latest").unwrap();
        assert_eq!(found.id, "sha256:0123");
        assert_eq!(found.configuration.config().as_ref().unwrap().cmd().as_deref(), Some(&["sh".to_owned()][..]));

        fs::write(
            image.join("image.json"),
            r#"{"os":"windows","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#,
        )
        .unwrap();
        assert!(matches!(images.resolve("hull/busybox"), Err(ImageError::Platform { .. })));
    }
}
