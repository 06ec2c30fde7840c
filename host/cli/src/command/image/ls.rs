//! `hull images`, `hull image ls`.

use crate::failure::Failure;
use crate::output;
use crate::progress::short;
use crate::table::{Format, Row};
use clap::Args;
use hull_engine::images::{ImageFilters, ImageSummary};
use hull_engine::{Engine, Reference};
use jiff::Timestamp;
use serde_json::{Value, json};

const COLUMNS: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const DIGEST_COLUMNS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

const HEADERS: [(&str, &str); 11] = [
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const JSON_FIELDS: [&str; 11] = [
    "Containers",
    "CreatedAt",
    "CreatedSince",
    "Digest",
    "ID",
    "Repository",
    "SharedSize",
    "Size",
    "Tag",
    "UniqueSize",
    "VirtualSize",
];

/// What stands for a name that is not there.
const NONE: &str = "<none>";

/// List images.
#[derive(Debug, Args)]
pub struct List {
    /// All images are shown anyway; for scripts that say it
    #[arg(short, long, hide = true)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show the digests that images were pulled by
    #[arg(long)]
    digests: bool,
    /// Print ids whole
    #[arg(long)]
    no_trunc: bool,
    /// Show only what fits, such as reference='node:*', dangling=true, label=app
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table`, `json`, or a template such as '{{.Repository}}:{{.Tag}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show only images of this repository, or by this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl List {
    pub fn run(self) -> Result<u8, Failure> {
        let mut filters = ImageFilters::parse(&self.filter)?;
        self.name.iter().for_each(|name| filters.add_reference(name.clone()));
        let columns = if self.digests { DIGEST_COLUMNS } else { COLUMNS };
        let format = Format::parse(self.format.as_deref(), columns)?;
        let mut images = Engine::open()?.list_images()?;
        images.retain_mut(|image| filters.apply(image));
        if self.quiet && self.format.is_none() {
            output::print_lines(images.iter().map(|image| self.id(image)))?;
            return Ok(0);
        }
        let now = Timestamp::now();
        let rows: Vec<_> = images.iter().flat_map(|image| self.rows(image, now)).collect();
        output::print(&format.render(&rows, &HEADERS, &JSON_FIELDS)?)?;
        Ok(0)
    }

    fn id(&self, image: &ImageSummary) -> String {
        if self.no_trunc { image.id.clone() } else { short(&image.id).to_owned() }
    }

    /// A row for each name; with digests, for each pair of a tag and a digest of the same repository.
    fn rows(&self, image: &ImageSummary, now: Timestamp) -> Vec<Row> {
        let mut rows = Vec::new();
        let digest = |name: &Reference| name.digest().map_or(NONE.to_owned(), ToString::to_string);
        for tag in &image.tags {
            let own = image.digests.iter().filter(|other| self.digests && other.name() == tag.name());
            let digests: Vec<_> = own.map(digest).collect();
            let digests = if digests.is_empty() { vec![NONE.to_owned()] } else { digests };
            let name = (tag.familiar_name(), tag.tag().unwrap_or(NONE));
            rows.extend(digests.iter().map(|digest| self.row(image, (&name.0, name.1, digest), now)));
        }
        // Names that are left: those of images which only their digest names.
        let alone = image.digests.iter().filter(|name| !image.tags.iter().any(|tag| tag.name() == name.name()));
        for name in alone {
            let shown = if self.digests { digest(name) } else { NONE.to_owned() };
            rows.push(self.row(image, (&name.familiar_name(), NONE, &shown), now));
        }
        if rows.is_empty() {
            rows.push(self.row(image, (NONE, NONE, NONE), now));
        }
        rows
    }

    fn row(&self, image: &ImageSummary, (repository, tag, digest): (&str, &str, &str), now: Timestamp) -> Row {
        let age = |time: Timestamp| format!("{} ago", hull_engine::human_duration(now.as_second() - time.as_second()));
        let at = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string();
        let size = hull_engine::human_bytes(image.size, 3);
        let fields = json!({
            "ID": self.id(image),
            "Repository": repository,
            "Tag": tag,
            "Digest": digest,
            "CreatedSince": image.created.map_or("N/A".to_owned(), age),
            "CreatedAt": image.created.map_or("N/A".to_owned(), at),
            "Size": size,
            "VirtualSize": size,
            "Containers": image.containers.to_string(),
            "SharedSize": "N/A",
            "UniqueSize": "N/A",
        });
        match fields {
            Value::Object(row) => row,
            _ => Row::new(),
        }
    }
}
