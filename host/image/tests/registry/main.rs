//! Pulling and pushing against Debian's `docker-registry`, with skopeo as the other client, and against a registry that
//! misbehaves. A test whose program is missing fails and names the package.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in helpers too")]

#[path = "../fake/mod.rs"]
mod fake;
mod faults;
mod interop;
mod secured;
mod server;
mod transfer;

use hull_image::archive::{Recipe, build};
use hull_image::credentials::{Anonymous, Credential, Keychain, Single};
use hull_image::oci_spec::image::{Config, Digest};
use hull_image::platform::Platform;
use hull_image::progress::{Phase, Progress, Quiet, Step};
use hull_image::registry::{Client, Settings};
use hull_image::{Reference, Store, StoredImage};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// A store of its own.
struct Place {
    store: Store,
    _directory: TempDir,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    Place { store: Store::open(&directory.path().join("images")).unwrap(), _directory: directory }
}

fn settings() -> Settings {
    Settings { certificates: Vec::new(), tries: 3, backoff: Duration::from_millis(1), ..Settings::default() }
}

fn anonymous() -> Client {
    Client::new(settings(), Arc::new(Anonymous))
}

fn keychain(registry: &str, password: &str) -> Arc<dyn Keychain> {
    let credential = Credential::Password { username: server::USER.to_owned(), password: password.to_owned() };
    Arc::new(Single { registry: registry.to_owned(), credential })
}

fn reference(authority: &str, rest: &str) -> Reference {
    Reference::parse(&format!("{authority}/{rest}")).unwrap()
}

fn guest() -> Platform {
    Platform::of_guest()
}

/// A tar of one file with these bytes.
fn layer(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, bytes).unwrap();
    builder.into_inner().unwrap()
}

/// An image with a layer for each of the files, the later upon the earlier.
fn image(store: &Store, files: &[(&str, &[u8])]) -> StoredImage {
    let mut base: Option<StoredImage> = None;
    for (name, bytes) in files {
        let mut config = Config::default();
        config.set_cmd(Some(vec![format!("/{name}")]));
        let recipe = Recipe { config, ..Recipe::default() };
        let names = [Reference::parse("built:here").unwrap()];
        base = Some(build(store, base.as_ref(), &layer(name, bytes)[..], recipe, &names, &Quiet).unwrap());
    }
    base.unwrap()
}

/// Bytes that do not compress and are not alike anywhere.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Remembers what became of each blob.
#[derive(Default)]
struct Recorder(Mutex<HashMap<Digest, Vec<Phase>>>);

impl Progress for Recorder {
    fn step(&self, blob: &Digest, step: Step) {
        self.0.lock().unwrap().entry(blob.clone()).or_default().push(step.phase);
    }
}

impl Recorder {
    /// How many blobs ended so.
    fn ended(&self, phase: Phase) -> usize {
        self.0.lock().unwrap().values().filter(|phases| phases.last() == Some(&phase)).count()
    }

    fn saw(&self, phase: Phase) -> bool {
        self.0.lock().unwrap().values().any(|phases| phases.contains(&phase))
    }
}

/// All messages of an error, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    text
}
