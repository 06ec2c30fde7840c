//! The list of containers, and which of them a filter lets through.

use crate::engine::Engine;
use crate::error::EngineError;
use hull_protocol::VmId;
use hull_state::{ContainerRecord, ContainerState, Status};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A container in the list.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is.
    pub record: ContainerRecord,
    /// How it is.
    pub state: ContainerState,
}

impl Engine {
    /// All containers, the newest first.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, EngineError> {
        let mut entries = Vec::new();
        for container in self.root.containers()? {
            let entry = container.record().and_then(|record| Ok(Entry { record, state: container.state()? }));
            match entry {
                Ok(entry) => entries.push(entry),
                // Removed while we read.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        entries.sort_by_key(|entry| Reverse(entry.record.created_at));
        Ok(entries)
    }
}

impl Entry {
    /// `running`, `exited` and so on.
    pub fn state_name(&self) -> &'static str {
        status_name(self.state.status)
    }
}

pub(crate) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Exited => "exited",
    }
}

/// Docker's filters: values of one key are alternatives (of `label`, conditions), keys are conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<Key, Vec<String>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Id,
    Name,
    Status,
    Label,
    Ancestor,
    Exited,
    Vm,
}

const KEYS: [(&str, Key); 7] = [
    ("id", Key::Id),
    ("name", Key::Name),
    ("status", Key::Status),
    ("label", Key::Label),
    ("ancestor", Key::Ancestor),
    ("exited", Key::Exited),
    ("vm", Key::Vm),
];

const STATUSES: [&str; 7] = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];

impl Filters {
    /// Reads `key=value` texts.
    ///
    /// # Errors
    /// An unknown key, or a value that the key cannot have.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, EngineError> {
        let mut filters = Self::default();
        for text in texts {
            let invalid = |why: String| EngineError::Invalid(format!("invalid filter '{}': {why}", text.as_ref()));
            let (name, value) =
                text.as_ref().split_once('=').ok_or_else(|| invalid("expected key=value".to_owned()))?;
            let known = || KEYS.map(|(name, _)| name).join(", ");
            let found = KEYS.iter().find(|(known, _)| *known == name.trim());
            let (_, key) = found.ok_or_else(|| invalid(format!("the keys are {}", known())))?;
            match key {
                Key::Status if !STATUSES.contains(&value) => {
                    return Err(invalid(format!("a status is one of {}", STATUSES.join(", "))));
                }
                Key::Exited if value.parse::<u8>().is_err() => {
                    return Err(invalid("an exit status is a number from 0 to 255".to_owned()));
                }
                _ => filters.0.entry(*key).or_default().push(value.to_owned()),
            }
        }
        Ok(filters)
    }

    /// Whether a container that does not run may be wanted although only running ones are listed by default.
    pub fn want_stopped(&self) -> bool {
        self.0.contains_key(&Key::Status) || self.0.contains_key(&Key::Exited)
    }

    /// Whether all keys let it through.
    pub fn match_entry(&self, entry: &Entry) -> bool {
        self.0.iter().all(|(key, values)| match key {
            Key::Label => values.iter().all(|value| match_label(entry, value)),
            key => values.iter().any(|value| match_value(*key, entry, value)),
        })
    }
}

fn match_label(Entry { record, .. }: &Entry, value: &str) -> bool {
    match value.split_once('=') {
        None => record.config.labels.contains_key(value),
        Some((key, value)) => record.config.labels.get(key).is_some_and(|is| is == value),
    }
}

fn match_value(key: Key, entry: &Entry, value: &str) -> bool {
    let Entry { record, state } = entry;
    match key {
        Key::Id => record.id.as_str().starts_with(value),
        Key::Name => record.name.contains(value.strip_prefix('/').unwrap_or(value)),
        Key::Status => entry.state_name() == value,
        Key::Ancestor => same_image(&record.image, value) || (!value.is_empty() && record.image_id.contains(value)),
        Key::Exited => state.status == Status::Exited && value.parse() == Ok(state.exit_code),
        Key::Vm => record.config.vm.name.as_deref() == Some(value) || runs_in(state.vm.as_ref(), value),
        Key::Label => match_label(entry, value),
    }
}

fn runs_in(vm: Option<&VmId>, value: &str) -> bool {
    vm.is_some_and(|vm| !value.is_empty() && vm.as_str().starts_with(value))
}

fn same_image(one: &str, other: &str) -> bool {
    let bare = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
    bare(one) == bare(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn entry() -> Entry {
        let mut config = fixtures::config();
        config.labels.insert("app".to_owned(), "web".to_owned());
        config.vm.name = Some("dev".to_owned());
        let record = fixtures::record(config);
        let state = ContainerState { status: Status::Exited, exit_code: 3, ..fixtures::state() };
        Entry { record, state }
    }

    fn matches(filters: &[&str]) -> bool {
        Filters::parse(filters).unwrap().match_entry(&entry())
    }

    #[test]
    fn each_key_decides() {
        for filter in [
            "id=0123",
            "name=calm",
            "name=/calm_noether",
            "status=exited",
            "label=app",
            "label=app=web",
            "ancestor=hull/busybox",
            "ancestor=hull/busybox:latest",
            "exited=3",
            "vm=dev",
        ] {
            assert!(matches(&[filter]), "{filter}");
        }
        for filter in [
            "id=123",
            "name=x",
            "status=running",
            "label=other",
            "label=app=x",
            "ancestor=hull/busybox:1",
            "exited=0",
            "vm=de",
            "vm=",
        ] {
            assert!(!matches(&[filter]), "{filter}");
        }
    }

    #[test]
    fn values_of_a_key_are_alternatives_and_keys_conditions() {
        assert!(matches(&["status=running", "status=exited"]));
        assert!(!matches(&["status=exited", "exited=0"]));
        assert!(!matches(&["label=app", "label=other"]));
        assert!(matches(&[]));
    }

    #[test]
    fn nonsense_is_refused() {
        for filter in ["nonsense", "colour=red", "status=asleep", "exited=x", "exited=256"] {
            assert!(Filters::parse(&[filter]).is_err(), "{filter}");
        }
        assert!(Filters::parse(&["exited=0"]).unwrap().want_stopped());
        assert!(!Filters::parse(&["name=x"]).unwrap().want_stopped());
    }
}
