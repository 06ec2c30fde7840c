//! Images as the user sees them: list, inspect, remove; from and to registries and archives.

mod changes;
mod filter;
mod inspect;
mod list;
mod remove;
mod transfer;
mod usage;

pub use changes::apply as apply_changes;
pub use filter::ImageFilters;
pub use hull_image::archive::{Loaded, Recipe, Source};
pub use hull_image::credentials::Credential;
pub use hull_image::registry::Pushed;
pub use hull_image::store::Removed;
pub use inspect::{HistoryEntry, ImageInspect, RootFs};
pub use list::ImageSummary;
pub use transfer::{Downloaded, default_registry, registry_called};
pub use usage::{DiskUsage, Pruned, Share};
