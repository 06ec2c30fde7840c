//! Saving: images of the store become an archive, under the digests that they have.
//!
//! ```text
//! oci-layout, index.json      an OCI layout
//! blobs/sha256/<digest>       manifests, configurations and layers, each once
//! manifest.json               the same for Docker (any version) and what reads its archives; not in a pure OCI layout
//! ```
//!
//! The same images make the same archive, byte for byte: no times, no owners, a fixed order.

use super::docker::Listed;
use super::oci::path;
use super::{ArchiveError, DOCKER_FILE, IMAGE_NAME, INDEX_FILE, LAYOUT_FILE, REF_NAME};
use crate::reference::Reference;
use crate::store::{Store, StoredImage};
use oci_spec::image::{Descriptor, Digest, ImageIndexBuilder, MediaType};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// What an archive is to be read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Docker and everything else: an OCI layout with Docker's list beside.
    Docker,
    /// An OCI layout and nothing else.
    Oci,
}

/// Writes images, with the names that they are to have, as a tar.
///
/// # Errors
/// If an image is not whole, or the archive cannot be written; it is then incomplete.
pub fn save(
    store: &Store,
    images: &[(&StoredImage, Vec<Reference>)],
    format: Format,
    output: impl Write,
) -> Result<(), ArchiveError> {
    let mut sink = Sink::Tar(tar::Builder::new(output));
    write(store, images, format, &mut sink)?;
    let Sink::Tar(builder) = sink else { return Ok(()) };
    let flushed = builder.into_inner().and_then(|mut output| output.flush());
    flushed.map_err(|source| ArchiveError::Stream { action: "write", source })
}

/// Writes images into a directory, which is made and must be empty if it is there.
///
/// # Errors
/// As [`save`].
pub fn save_directory(
    store: &Store,
    images: &[(&StoredImage, Vec<Reference>)],
    format: Format,
    directory: &Path,
) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::Io { action: "write", path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    if fs::read_dir(directory).map_err(failed)?.next().is_some() {
        return Err(failed(io::Error::new(io::ErrorKind::DirectoryNotEmpty, "the directory is not empty")));
    }
    write(store, images, format, &mut Sink::<io::Sink>::Directory(directory))
}

fn write<W: Write>(
    store: &Store,
    images: &[(&StoredImage, Vec<Reference>)],
    format: Format,
    sink: &mut Sink<'_, W>,
) -> Result<(), ArchiveError> {
    let mut blobs = Blobs { store, written: HashSet::new() };
    let (mut entries, mut list) = (Vec::new(), Vec::new());
    sink.bytes(LAYOUT_FILE, LAYOUT)?;
    for (image, names) in images {
        let manifest = store.manifest(&image.manifest)?;
        let parts = [&image.manifest, manifest.config()].into_iter().chain(manifest.layers());
        for part in parts {
            blobs.write(part, sink)?;
        }
        entries.extend(index_entries(&image.manifest, names));
        list.push(Listed {
            config: path(manifest.config().digest())?,
            repo_tags: Some(names.iter().filter(|name| name.tag().is_some()).map(Reference::familiar).collect()),
            layers: manifest.layers().iter().map(|layer| path(layer.digest())).collect::<Result<_, _>>()?,
        });
    }
    let index = ImageIndexBuilder::default().schema_version(2_u32).media_type(MediaType::ImageIndex).manifests(entries);
    let index = index.build().expect("an index with all that it must have");
    // By way of a value: its maps are in order, those of annotations are not.
    let index = serde_json::to_value(&index).expect("an index is text, numbers and lists");
    sink.bytes(INDEX_FILE, index.to_string().as_bytes())?;
    if format == Format::Docker {
        sink.bytes(DOCKER_FILE, &serde_json::to_vec(&list).expect("a list of texts"))?;
    }
    Ok(())
}

/// The image's entries in the index, one for each name.
fn index_entries(manifest: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    let bare = || Descriptor::new(manifest.media_type().clone(), manifest.size(), manifest.digest().clone());
    let named = |name: &Reference| {
        let tag = name.tag()?;
        let mut entry = bare();
        let annotations = [(IMAGE_NAME, name.to_string()), (REF_NAME, tag.to_owned())];
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value));
        entry.set_annotations(Some(HashMap::from(annotations)));
        Some(entry)
    };
    let entries = names.iter().filter_map(named).collect::<Vec<_>>();
    if entries.is_empty() { vec![bare()] } else { entries }
}

/// Blobs, each written once.
struct Blobs<'a> {
    store: &'a Store,
    written: HashSet<Digest>,
}

impl Blobs<'_> {
    fn write<W: Write>(&mut self, blob: &Descriptor, sink: &mut Sink<'_, W>) -> Result<(), ArchiveError> {
        if !self.written.insert(blob.digest().clone()) {
            return Ok(());
        }
        let (file, length) = self.store.open_blob(blob.digest())?;
        sink.member(&path(blob.digest())?, file, length)
    }
}

/// Where members go.
enum Sink<'a, W: Write> {
    Tar(tar::Builder<W>),
    Directory(&'a Path),
}

impl<W: Write> Sink<'_, W> {
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.member(name, bytes, bytes.len() as u64)
    }

    fn member(&mut self, name: &str, source: impl Read, length: u64) -> Result<(), ArchiveError> {
        match self {
            Self::Tar(builder) => {
                let mut header = tar::Header::new_ustar();
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(0o644);
                header.set_size(length);
                builder
                    .append_data(&mut header, name, source.take(length))
                    .map_err(|source| ArchiveError::Stream { action: "write", source })
            }
            Self::Directory(root) => {
                let path = root.join(name);
                let failed = |source| ArchiveError::Io { action: "write", path: path.clone(), source };
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(failed)?;
                }
                let mut file = File::create_new(&path).map_err(failed)?;
                io::copy(&mut source.take(length), &mut file).map(drop).map_err(failed)
            }
        }
    }
}
