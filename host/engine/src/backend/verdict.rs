//! What a probe found, remembered for the next commands.
//!
//! Where a hypervisor is there but useless, finding that out takes tens of milliseconds, because code has to run in
//! it; every `hull run` would pay for it. So a refusal that took long is kept in the runtime directory, which is
//! private and goes with a restart of the host, for an hour; `hull doctor` always looks anew. What is found quickly,
//! and what is good news, is never kept.

use hull_machine::backend::{Capabilities, MachineBackend, Unavailable};
use hull_platform::{dirs, file};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A probe that takes less is made each time.
const LONG: Duration = Duration::from_millis(5);

/// How long a refusal holds.
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    version: String,
    at: Timestamp,
    reason: String,
    remedy: Option<String>,
}

/// Probes a backend, or repeats an earlier refusal.
pub(super) fn probe(backend: &dyn MachineBackend) -> Result<Capabilities, Unavailable> {
    let path = path(backend);
    match path.as_deref().and_then(|path| remembered(path, Timestamp::now())) {
        Some(refusal) => Err(Unavailable { reason: refusal.reason, remedy: refusal.remedy }),
        None => probe_and_remember(backend, path.as_deref()),
    }
}

/// Probes a backend, whatever was found before.
pub(super) fn probe_anew(backend: &dyn MachineBackend) -> Result<Capabilities, Unavailable> {
    let path = path(backend);
    if let Some(path) = &path {
        // It is most often not there.
        drop(fs::remove_file(path));
    }
    probe_and_remember(backend, path.as_deref())
}

fn probe_and_remember(backend: &dyn MachineBackend, path: Option<&Path>) -> Result<Capabilities, Unavailable> {
    let start = Instant::now();
    let found = backend.probe();
    if let (Err(why), Some(path)) = (&found, path.filter(|_| start.elapsed() >= LONG)) {
        remember(path, why, Timestamp::now());
    }
    found
}

/// Without a runtime directory nothing is remembered.
fn path(backend: &dyn MachineBackend) -> Option<PathBuf> {
    Some(dirs::runtime_dir().ok()?.join(format!("probe-{}.json", backend.name())))
}

fn remembered(path: &Path, now: Timestamp) -> Option<Refusal> {
    let refusal: Refusal = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let age = now.duration_since(refusal.at);
    let holds = refusal.version == env!("CARGO_PKG_VERSION") && !age.is_negative() && age < LIFETIME;
    holds.then_some(refusal)
}

/// If it cannot be written, the next command probes again.
fn remember(path: &Path, Unavailable { reason, remedy }: &Unavailable, at: Timestamp) {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let refusal = Refusal { version, at, reason: reason.clone(), remedy: remedy.clone() };
    if let Ok(bytes) = serde_json::to_vec(&refusal) {
        drop(file::replace(path, &bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_for_an_hour_and_for_this_version() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("probe-kvm.json");
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        assert!(remembered(&path, at).is_none());
        remember(&path, &Unavailable { reason: "slow".to_owned(), remedy: None }, at);
        assert_eq!(remembered(&path, at).unwrap().reason, "slow");
        assert!(remembered(&path, at + SignedDuration::from_mins(59)).is_some());
        assert!(remembered(&path, at + SignedDuration::from_mins(61)).is_none());
        assert!(remembered(&path, at - SignedDuration::from_mins(1)).is_none());
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(env!("CARGO_PKG_VERSION"), "0.0.0")).unwrap();
        assert!(remembered(&path, at).is_none());
        fs::write(&path, "{").unwrap();
        assert!(remembered(&path, at).is_none());
    }
}
