//! New images: a tar of files alone (`import`), or upon another image (`commit`).

use super::ArchiveError;
use super::docker::make_manifest;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::store::{Store, StoredImage};
use oci_spec::image::{
    Config, Descriptor, History, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder, MediaType,
    RootFsBuilder,
};
use std::io::Read;

/// What a new image is, but for its files.
#[derive(Debug, Clone, Default)]
pub struct Recipe {
    /// What its containers run by default.
    pub config: Config,
    /// Who made it.
    pub author: Option<String>,
    /// What is to be said about it, in its history.
    pub comment: Option<String>,
    /// By what command it was made, in its history.
    pub created_by: Option<String>,
    /// For what it is made; the base's platform, or that of the guests here, if nothing is said.
    pub platform: Option<Platform>,
}

/// Makes an image of a tar, compressed or not, upon the layers of `base` if there is one.
///
/// # Errors
/// If the tar cannot be laid out, or the base is not whole.
pub fn build(
    store: &Store,
    base: Option<&StoredImage>,
    layer: impl Read,
    recipe: Recipe,
    names: &[Reference],
    progress: &dyn Progress,
) -> Result<StoredImage, ArchiveError> {
    let import = store.begin()?;
    let mut layers = base.map_or(Ok(Vec::new()), |base| layers_of(store, base))?;
    let new = import.add_layer(layer, progress)?;
    layers.push(new.descriptor);
    let configuration = configuration(base.map(|base| &base.configuration), new.diff_id.as_ref(), recipe);
    let bytes = serde_json::to_vec(&configuration).expect("a configuration is text, numbers and lists");
    let descriptor = import.put(MediaType::ImageConfig, &bytes)?;
    let (manifest, _) = make_manifest(descriptor, layers);
    let manifest = import.put(MediaType::ImageManifest, &manifest)?;
    Ok(import.commit(&manifest, names)?)
}

/// The layers of an image, in OCI's words: its new manifest is OCI's.
fn layers_of(store: &Store, base: &StoredImage) -> Result<Vec<Descriptor>, ArchiveError> {
    let manifest = store.manifest(&base.manifest)?;
    let translated = |layer: &Descriptor| {
        let mut layer = layer.clone();
        let name = layer.media_type().to_string();
        layer.set_media_type(match name.rsplit(['.', '+']).next() {
            Some("gzip") => MediaType::ImageLayerGzip,
            Some("zstd") => MediaType::ImageLayerZstd,
            _ => MediaType::ImageLayer,
        });
        layer
    };
    Ok(manifest.layers().iter().map(translated).collect())
}

fn configuration(base: Option<&ImageConfiguration>, diff_id: &str, recipe: Recipe) -> ImageConfiguration {
    let own = base.map_or_else(Platform::of_guest, Platform::of_configuration);
    let platform = recipe.platform.unwrap_or(own);
    let mut diff_ids = base.map(|base| base.rootfs().diff_ids().clone()).unwrap_or_default();
    diff_ids.push(diff_id.to_owned());
    let created = jiff::Timestamp::now().to_string();
    let mut history = base.and_then(|base| base.history().clone()).unwrap_or_default();
    history.push(entry(&created, recipe.created_by, recipe.author.clone(), recipe.comment));
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build();
    let mut configuration = ImageConfigurationBuilder::default()
        .created(created)
        .architecture(platform.architecture.as_str())
        .os(platform.os.as_str())
        .config(recipe.config)
        .rootfs(rootfs.expect("a root file system with all that it must have"))
        .history(history)
        .build()
        .expect("a configuration with all that it must have");
    configuration.set_variant(Some(platform.variant).filter(|variant| !variant.is_empty()));
    configuration.set_author(recipe.author);
    configuration
}

fn entry(created: &str, created_by: Option<String>, author: Option<String>, comment: Option<String>) -> History {
    let mut entry = HistoryBuilder::default().created(created).build().expect("nothing in a history is required");
    entry.set_created_by(created_by);
    entry.set_author(author);
    entry.set_comment(comment);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_image_says_what_it_is() {
        let recipe = Recipe { comment: Some("Imported from -".to_owned()), ..Recipe::default() };
        let alone = configuration(None, "sha256:a", recipe);
        assert_eq!(Platform::of_configuration(&alone), Platform::of_guest());
        assert_eq!(alone.rootfs().diff_ids(), &["sha256:a"]);
        let arm =
            Recipe { platform: Some("linux/arm/v7".parse().unwrap()), author: Some("ann".into()), ..Recipe::default() };
        let upon = configuration(Some(&alone), "sha256:b", arm);
        assert_eq!(upon.rootfs().diff_ids(), &["sha256:a", "sha256:b"]);
        assert_eq!(Platform::of_configuration(&upon).to_string(), "linux/arm/v7");
        let history = upon.history().as_ref().unwrap();
        assert_eq!(history[0].comment().as_deref(), Some("Imported from -"));
        assert_eq!((history.len(), history[1].author().as_deref()), (2, Some("ann")));
        assert!(serde_json::to_string(&upon).unwrap().contains("\"type\":\"layers\""));
    }
}
