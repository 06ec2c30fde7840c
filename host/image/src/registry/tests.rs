//! The client against a registry that misbehaves.

#[path = "../../tests/fake/mod.rs"]
mod fake;

mod access;
mod blobs;
mod manifests;

use super::*;
use crate::credentials::Anonymous;
use fake::{Answer, Asked, Fake};
use std::time::Duration;

const TRIES: u32 = 3;

fn settings() -> Settings {
    Settings {
        certificates: Vec::new(),
        tries: TRIES,
        backoff: Duration::from_millis(1),
        longest_wait: Duration::from_millis(10),
        idle_timeout: Duration::from_secs(10),
        ..Settings::default()
    }
}

fn anonymous() -> Client {
    Client::new(settings(), Arc::new(Anonymous))
}

fn with_password(registry: &str, password: &str) -> Client {
    let credential = Credential::Password { username: "ann".to_owned(), password: password.to_owned() };
    Client::new(settings(), Arc::new(Single { registry: registry.to_owned(), credential }))
}

fn reference(fake: &Fake, rest: &str) -> Reference {
    Reference::parse(&format!("{}/{rest}", fake.authority)).unwrap()
}

/// A manifest that refers to nothing that exists.
fn manifest() -> Vec<u8> {
    let digest = crate::manifest::digest_of(b"{}");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"{digest}"}},"layers":[]}}"#
    );
    text.into_bytes()
}

/// Answers the greeting, and leaves the rest to `rest`.
fn open(rest: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Fake {
    Fake::start(move |asked| if asked.target == "/v2/" { Answer::new(200, "{}") } else { rest(asked) })
}
