//! The store: what it takes, what it refuses, and what is left of it.

mod collecting;
mod crashes;
mod importing;

use super::*;
use crate::layer::tests::Tar;
use crate::progress::Quiet;
use crate::reference::Reference;
use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType};
use sha2::Digest as _;
use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write as _};
use tempfile::TempDir;

struct Fixture {
    directory: TempDir,
    store: Store,
}

/// A layer as a registry has it.
#[derive(Clone)]
struct Layer {
    descriptor: Descriptor,
    diff_id: Digest,
    blob: Vec<u8>,
}

fn digest_of(bytes: &[u8]) -> Digest {
    sha256(sha2::Sha256::digest(bytes).into())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Layer {
    fn of(tar: Tar) -> Self {
        let archive = tar.end();
        Self::new(&archive, gzip(&archive))
    }

    fn new(archive: &[u8], blob: Vec<u8>) -> Self {
        let descriptor = Descriptor::new(MediaType::ImageLayerGzip, blob.len() as u64, digest_of(&blob));
        Self { descriptor, diff_id: digest_of(archive), blob }
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_with(&directory.path().join("images"), settings).unwrap();
        Self { directory, store }
    }

    /// Makes an image, as a pull would.
    fn image(&self, names: &[&str], layers: &[Layer]) -> StoredImage {
        image_in(&self.store, names, layers).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let images = self.store.images().unwrap();
        images.iter().flat_map(|image| image.names.iter().map(Reference::familiar)).collect()
    }

    /// Everything in the store but what is always there, by kind and number.
    fn contents(&self) -> (usize, usize, usize) {
        let count = |name: &str| fs::read_dir(self.store.root.join(name)).unwrap().count();
        assert_eq!((count("imports"), count("locks")), (0, 0), "something is left behind");
        (count("blobs/sha256"), count("layers"), count("rootfs"))
    }

    fn prune(&self) -> Removed {
        self.store.prune(Prune::Nameless, &|_| true, &nobody).unwrap()
    }
}

fn nobody() -> Result<HashSet<Digest>, StoreError> {
    Ok(HashSet::new())
}

fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

fn image_in(store: &Store, names: &[&str], layers: &[Layer]) -> Result<StoredImage, StoreError> {
    let import = store.begin()?;
    for layer in layers {
        import.layer(&layer.descriptor, &layer.diff_id, || Ok(&layer.blob[..]), &Quiet)?;
    }
    let manifest = documents(&import, layers)?;
    let names: Vec<_> = names.iter().map(|name| reference(name)).collect();
    import.commit(&manifest, &names)
}

/// Adds manifest and configuration.
fn documents(import: &Import<'_>, layers: &[Layer]) -> Result<Descriptor, StoreError> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let configuration = serde_json::json!({
        "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let configuration = import.put(MediaType::ImageConfig, configuration.to_string().as_bytes())?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .config(configuration)
        .layers(layers.iter().map(|layer| layer.descriptor.clone()).collect::<Vec<_>>())
        .build()
        .unwrap();
    import.put(MediaType::ImageManifest, manifest.to_string().unwrap().as_bytes())
}

/// All pieces of a root file system, one behind the other.
fn whole(rootfs: &RootFs) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in &rootfs.pieces {
        let before = bytes.len() as u64;
        File::open(&piece.path).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64 - before, piece.length);
    }
    bytes
}

/// What an error says, with its causes.
fn told(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}
