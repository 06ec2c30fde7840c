//! Layers on their way into the store.

use super::blobs::{Draft, check_digest, check_size, temporary_name};
use super::import::{Import, LayerState, NewLayer, Reporter};
use super::lease::Thing;
use super::{Store, StoreError, exists, hex, sha256};
use crate::layer::index::Index;
use crate::layer::{Compression, IngestError, Ingested, Sink, ingest};
use crate::progress::{Phase, Progress};
use hull_platform::file;
use oci_spec::image::{Descriptor, Digest, MediaType};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

impl Store {
    /// Whether a layer is laid out, and the blob was seen to decompress to it.
    fn has_layer_of(&self, diff_id: &str, blob: &str) -> bool {
        exists(&self.layer_path(diff_id).join(blob))
    }

    /// Whether some layer was made of this blob.
    pub(super) fn layer_of_blob(&self, blob: &str) -> bool {
        let layers = fs::read_dir(self.root.join("layers")).into_iter().flatten().flatten();
        layers.into_iter().any(|layer| exists(&layer.path().join(blob)))
    }
}

impl Import<'_> {
    /// Adds a layer: the blob, and what it comes to. `source` is called if it is not there yet, and read on the calling
    /// thread, once, from its start; layers may be added from several threads at the same time. Of several imports of the
    /// same layer, in whatever processes, one fetches it and the others wait.
    ///
    /// # Errors
    /// Size, digest or diff ID are not those that were promised; the archive is refused; the source or the disk fails.
    /// Nothing of the layer is left then.
    pub fn layer<R: Read>(
        &self,
        descriptor: &Descriptor,
        diff_id: &Digest,
        source: impl FnOnce() -> io::Result<R>,
        progress: &dyn Progress,
    ) -> Result<LayerState, StoreError> {
        let (blob, layer) = (hex(descriptor.digest())?, hex(diff_id)?);
        self.lease.protect(&[Thing::blob(descriptor.digest())?, Thing::layer(diff_id)?])?;
        let mut reporter = Reporter::new(progress, descriptor);
        reporter.phase(Phase::Waiting);
        let _turn = self.turn(layer)?;
        let has_blob = self.store.has_blob(descriptor.digest())?;
        if self.store.has_layer_of(layer, blob) && (has_blob || !self.store.settings.keep_blobs) {
            reporter.phase(Phase::Exists);
            return Ok(LayerState::Existed);
        }
        let failed = |source| StoreError::Transfer { digest: descriptor.digest().to_string(), source };
        reporter.phase(Phase::Downloading);
        if has_blob {
            let (mut file, _) = self.store.open_blob(descriptor.digest())?;
            Work::start(self, None)?.add(descriptor, diff_id, &mut file, &mut reporter)?;
        } else {
            // One byte more than promised tells that there are more.
            let mut source = source().map_err(failed)?.take(descriptor.size().saturating_add(1));
            let keep = self.store.settings.keep_blobs.then(|| self.draft()).transpose()?;
            Work::start(self, keep)?.add(descriptor, diff_id, &mut source, &mut reporter)?;
        }
        reporter.phase(Phase::Done);
        Ok(LayerState::Added)
    }

    /// Adds a layer of which nothing is known but its bytes, which are kept as they come.
    ///
    /// # Errors
    /// The archive is refused; the source or the disk fails.
    pub fn add_layer(&self, mut source: impl Read, progress: &dyn Progress) -> Result<NewLayer, StoreError> {
        let unknown = Descriptor::new(MediaType::ImageLayer, 0, sha256([0; 32]));
        let mut reporter = Reporter::new(progress, &unknown);
        let mut work = Work::start(self, Some(self.draft()?))?;
        let ingested = work.run(&mut source, &unknown, &mut reporter)?;
        let (digest, diff_id) = (sha256(ingested.digest), sha256(ingested.diff_id));
        let media_type = match ingested.compression {
            Compression::None => MediaType::ImageLayer,
            Compression::Gzip => MediaType::ImageLayerGzip,
            Compression::Zstd => MediaType::ImageLayerZstd,
        };
        let descriptor = Descriptor::new(media_type, ingested.compressed_bytes, digest);
        self.lease.protect(&[Thing::blob(descriptor.digest())?, Thing::layer(&diff_id)?])?;
        let _turn = self.turn(hex(&diff_id)?)?;
        work.publish(ingested, &descriptor, &diff_id)?;
        Ok(NewLayer { descriptor, diff_id })
    }
}

/// A layer that is being laid out in the import's own directory.
struct Work<'a> {
    import: &'a Import<'a>,
    /// What will be the layer's directory.
    directory: PathBuf,
    data: File,
    /// Where the blob is kept, if it is.
    keep: Option<Draft>,
}

impl<'a> Work<'a> {
    fn start(import: &'a Import<'_>, keep: Option<Draft>) -> Result<Self, StoreError> {
        let parent = import.lease.directory();
        let failed = |error| StoreError::io("create a directory in", parent, error);
        let directory = parent.join(temporary_name().map_err(failed)?);
        fs::create_dir(&directory).map_err(failed)?;
        let data =
            File::options().read(true).write(true).create_new(true).open(directory.join("data")).map_err(failed)?;
        Ok(Self { import, directory, data, keep })
    }

    /// Takes the layer in, checks that it is what was promised, and publishes it.
    fn add(
        mut self,
        descriptor: &Descriptor,
        diff_id: &Digest,
        source: &mut dyn Read,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), StoreError> {
        let ingested = self.run(source, descriptor, reporter)?;
        check_size(descriptor, ingested.compressed_bytes)?;
        check_digest("blob", descriptor.digest(), &sha256(ingested.digest))?;
        check_digest("the archive in the layer, diff ID", diff_id, &sha256(ingested.diff_id))?;
        self.publish(ingested, descriptor, diff_id)
    }

    fn run(
        &mut self,
        source: &mut dyn Read,
        descriptor: &Descriptor,
        reporter: &mut Reporter<'_>,
    ) -> Result<Ingested, StoreError> {
        let mut keeper = Keeper { keep: self.keep.as_mut(), reporter };
        let limits = &self.import.store.settings.limits;
        let name = || descriptor.digest().to_string();
        ingest(source, &self.data, limits, &mut keeper).map_err(|error| {
            // More bytes than promised, or others, explain why they make no sense.
            if descriptor.size() > 0 && reporter.done() > descriptor.size() {
                return StoreError::Size { digest: name(), expected: descriptor.size(), found: reporter.done() };
            }
            match error {
                IngestError::Layer { digest: Some(digest), .. }
                    if descriptor.size() > 0 && sha256(digest) != *descriptor.digest() =>
                {
                    StoreError::Digest { what: "blob", expected: name(), found: sha256(digest).to_string() }
                }
                IngestError::Layer { error, .. } => StoreError::Layer { digest: name(), source: error },
                IngestError::Source(source) => StoreError::Transfer { digest: name(), source },
                IngestError::Sink(error) => StoreError::io("write to", self.import.lease.directory(), error),
                IngestError::Thread(error) => StoreError::io("start a thread for", &self.directory, error),
                IngestError::Closed => StoreError::Missing(name()),
            }
        })
    }

    /// Gives blob and layer their names, once they are on the disk.
    fn publish(self, ingested: Ingested, descriptor: &Descriptor, diff_id: &Digest) -> Result<(), StoreError> {
        let store = self.import.store;
        let blob = hex(descriptor.digest())?;
        let layer = store.layer_path(hex(diff_id)?);
        if let Some(keep) = self.keep {
            keep.publish_blob(store, descriptor.digest())?;
        }
        if !exists(&layer) {
            let Ingested { data_bytes, archive_bytes, tree, .. } = ingested;
            let index = Index { data_bytes, archive_bytes, tree }.encode();
            let failed = |error| StoreError::io("write to", &self.directory, error);
            write_synced(&self.directory.join("index"), &index).map_err(failed)?;
            self.data.sync_all().map_err(failed)?;
            file::sync_dir(&self.directory).map_err(failed)?;
            rename_into(&self.directory, &layer)?;
        }
        // From here on the layer counts as this blob's.
        let seen = layer.join(blob);
        let failed = |error| StoreError::io("create", &seen, error);
        File::create(&seen).and_then(|_| file::sync_dir(&layer)).map_err(failed)
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn rename_into(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|error| StoreError::io("create", to, error))?;
    let parent = to.parent().unwrap_or(to);
    file::sync_dir(parent).map_err(|error| StoreError::io("write", parent, error))
}

/// Keeps the blob as it comes, and tells of it.
struct Keeper<'a, 'b> {
    keep: Option<&'a mut Draft>,
    reporter: &'a mut Reporter<'b>,
}

impl Sink for Keeper<'_, '_> {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            self.reporter.phase(Phase::Extracting);
        }
        if let Some(draft) = &mut self.keep {
            draft.file.write_all(bytes)?;
        }
        self.reporter.arrived(bytes.len());
        Ok(())
    }
}
