//! Archives of images, as `docker save` writes them, made by tests.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::Path;

/// A layer: a tar of files.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Default for Layer {
    fn default() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }
}

impl Layer {
    /// Adds a file with this text, which anybody may read.
    ///
    /// # Errors
    /// If the name cannot be one.
    pub fn file(mut self, name: &str, text: &str) -> Result<Self> {
        let mut header = header(tar::EntryType::Regular, 0o644);
        header.set_size(text.len() as u64);
        self.0.append_data(&mut header, name, text.as_bytes()).with_context(|| name.to_owned())?;
        Ok(self)
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// As [`Layer::file`].
    pub fn directory(mut self, name: &str) -> Result<Self> {
        let mut header = header(tar::EntryType::Directory, 0o755);
        self.0.append_data(&mut header, name, &[][..]).with_context(|| name.to_owned())?;
        Ok(self)
    }

    /// The tar.
    ///
    /// # Errors
    /// None that a buffer has.
    pub fn bytes(self) -> Result<Vec<u8>> {
        Ok(self.0.into_inner()?)
    }
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    header.set_size(0);
    header
}

/// Writes an archive with one image: layers, the lowest first, and the configuration for its containers. Its id.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, name: Option<&str>, layers: &[Vec<u8>], config: &Value) -> Result<String> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
    let history: Vec<_> = diff_ids.iter().map(|id| json!({"created_by": format!("layer {id}")})).collect();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let document = json!({
        "created": "2023-11-14T22:13:20Z", "architecture": architecture, "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
    });
    let document = document.to_string().into_bytes();
    let id = hex(&document);
    let names: Vec<_> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let list =
        json!([{"Config": format!("{id}.json"), "RepoTags": name.into_iter().collect::<Vec<_>>(), "Layers": names}]);
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut archive = tar::Builder::new(file);
    let list = list.to_string();
    let members = names.iter().map(String::as_str).zip(layers.iter().map(Vec::as_slice));
    let (config, manifest) = (format!("{id}.json"), "manifest.json");
    let documents = [(config.as_str(), document.as_slice()), (manifest, list.as_bytes())];
    for (name, bytes) in members.chain(documents) {
        let mut header = header(tar::EntryType::Regular, 0o644);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes)?;
    }
    archive.into_inner()?;
    Ok(format!("sha256:{id}"))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
