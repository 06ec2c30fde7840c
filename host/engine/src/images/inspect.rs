//! Everything about an image, in the shape of Docker's `GET /images/{name}/json`, and its history.

use super::list::created;
use crate::engine::Engine;
use crate::error::EngineError;
use hull_image::Reference;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

/// The largest configuration that is read, as in the store.
const MAX_CONFIGURATION: u64 = 8 << 20;

/// The document.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, documented in its API")]
pub struct ImageInspect {
    pub id: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: &'static str,
    pub comment: String,
    pub created: Option<String>,
    pub docker_version: &'static str,
    pub author: String,
    /// As the image has it, with what hull does not know.
    pub config: Value,
    pub architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    pub os: String,
    pub size: u64,
    pub graph_driver: Value,
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    pub descriptor: Value,
}

/// `RootFS`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, documented in its API")]
pub struct RootFs {
    #[serde(rename = "Type")]
    pub kind: &'static str,
    pub layers: Vec<String>,
}

/// One line of an image's history.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    /// The image's id in the line of its last step; unknown in the others.
    pub id: Option<String>,
    /// When the step was made, if that is known.
    pub created: Option<Timestamp>,
    /// By what command.
    pub created_by: String,
    /// The bytes of its layer, uncompressed.
    pub size: u64,
    /// What was said about it.
    pub comment: String,
}

impl Engine {
    /// Everything about an image of the store.
    ///
    /// # Errors
    /// It is not there or damaged.
    pub fn inspect_image(&self, reference: &str) -> Result<ImageInspect, EngineError> {
        let image = self.stored_image(reference)?;
        let store = self.store()?;
        let bytes = store.read_blob(&image.id, MAX_CONFIGURATION)?;
        // It was read as one a moment ago.
        let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
        let (tags, digests): (Vec<_>, Vec<_>) = image.names.iter().partition(|name| name.tag().is_some());
        let familiar = |names: Vec<&Reference>| names.into_iter().map(Reference::familiar).collect();
        let last = document["history"].as_array().and_then(|history| history.last());
        let comment = last.and_then(|step| step["comment"].as_str()).unwrap_or_default().to_owned();
        Ok(ImageInspect {
            repo_tags: familiar(tags),
            repo_digests: familiar(digests),
            parent: "",
            comment: if text("comment").is_empty() { comment } else { text("comment") },
            created: image.configuration.created().clone(),
            docker_version: "",
            author: text("author"),
            config: document.get("config").cloned().unwrap_or_default(),
            architecture: text("architecture"),
            variant: document["variant"].as_str().map(str::to_owned),
            os: text("os"),
            size: store.size(&image)?,
            graph_driver: json!({"Name": "overlayfs", "Data": null}),
            root_fs: RootFs {
                kind: "layers",
                layers: image.layers.iter().map(|layer| layer.diff_id.to_string()).collect(),
            },
            descriptor: json!({
                "mediaType": image.manifest.media_type().to_string(),
                "digest": image.manifest.digest().to_string(),
                "size": image.manifest.size(),
            }),
            id: image.id.to_string(),
        })
    }

    /// How an image was made, the last step first.
    ///
    /// # Errors
    /// It is not there or damaged.
    pub fn image_history(&self, reference: &str) -> Result<Vec<HistoryEntry>, EngineError> {
        let image = self.stored_image(reference)?;
        let store = self.store()?;
        let mut layers = image.layers.iter();
        let mut entries = Vec::new();
        for step in image.configuration.history().iter().flatten() {
            let layer = if step.empty_layer() == Some(true) { None } else { layers.next() };
            entries.push(HistoryEntry {
                id: None,
                created: step.created().as_ref().and_then(|time| time.parse().ok()),
                created_by: step.created_by().clone().unwrap_or_default(),
                size: layer.map_or(Ok(0), |layer| store.layer_size(&layer.diff_id))?,
                comment: step.comment().clone().unwrap_or_default(),
            });
        }
        // An image need not tell of all its layers, or of any.
        for layer in layers {
            let (created_by, comment) = (String::new(), String::new());
            let size = store.layer_size(&layer.diff_id)?;
            entries.push(HistoryEntry { id: None, created: created(&image), created_by, size, comment });
        }
        entries.reverse();
        if let Some(last) = entries.first_mut() {
            last.id = Some(image.id.to_string());
        }
        Ok(entries)
    }
}
