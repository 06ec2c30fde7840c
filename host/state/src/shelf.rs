//! A shelf: a directory of entries (containers, or VMs) and a directory of claims of their names.
//!
//! An entry is made whole under a temporary name (`.new-…`) and then renamed to its id. A claim is a file with the
//! entry's name, in which its id stands. The two change together under one lock, `<names>/.lock`, which is held for a few
//! system calls and never across a wait for the disk:
//!
//! ```text
//! publish:  lock; claim (refused if the claimed entry exists); rename .new-x -> id; unlock
//! remove:   lock; rename id -> .gone-x; free the claim if it is ours; unlock; delete .gone-x
//! ```
//!
//! A process that dies between the two steps of either leaves a claim without an entry: a dead claim, which counts as
//! free. Nobody else can see that state, because of the lock; who finds it knows that its maker is dead. A `.new-…`
//! directory belongs to whoever holds the lock file in it, which later is the entry's own; if nobody does, it is rubbish.
//! A `.gone-…` directory may be deleted by anybody.
//!
//! What need not survive a power cut ([`Durability::Whole`]) is not forced to the disk at all. A cut may then leave an
//! entry with an empty record, or one full of zeros, which no process ever makes: it counts as no entry, and is rubbish.

use crate::StateError;
use hull_platform::lock::FileLock;
use hull_platform::{dirs, file, random};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const DRAFT_PREFIX: &str = ".new-";
const GONE_PREFIX: &str = ".gone-";

/// How often a draft is begun anew because a sweep took it for rubbish in the instant before its lock was taken.
const ATTEMPTS: u32 = 8;

/// The longest name.
const MAX_NAME: usize = 128;

/// The rule of [`is_name`], for messages.
pub const NAME_RULE: &str = "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, 2 to 128 characters";

/// How sure it is that a new entry survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is on the disk when the call returns.
    Kept,
    /// It may vanish, but not be seen by halves.
    Whole,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    /// What is on it, for messages.
    pub(crate) what: &'static str,
    /// The directory of entries.
    pub(crate) entries: PathBuf,
    /// The directory of claims.
    pub(crate) names: PathBuf,
    /// The file that every entry has from the first instant on.
    pub(crate) record: &'static str,
}

impl Shelf {
    /// The lock file in each entry.
    pub(crate) const LOCK: &'static str = "lock";

    /// Makes the two directories.
    pub(crate) fn make(&self) -> Result<(), StateError> {
        for dir in [&self.entries, &self.names] {
            dirs::create_private_all(dir).map_err(StateError::io("create", dir))?;
        }
        Ok(())
    }

    /// Begins an entry. The name is checked now, before any work is done for it, and claimed at the end.
    pub(crate) fn draft(&self, name: Option<&str>) -> Result<Draft<'_>, StateError> {
        if let Some(name) = name.filter(|name| !is_name(name)) {
            return Err(StateError::InvalidName(name.chars().take(MAX_NAME).collect()));
        }
        for _ in 0..ATTEMPTS {
            let path = self.temporary(DRAFT_PREFIX)?;
            dirs::create_private_new(&path).map_err(StateError::io("create", &path))?;
            match FileLock::try_acquire(&path.join(Self::LOCK)) {
                Ok(Some(lock)) => {
                    return Ok(Draft { shelf: self, path, name: name.map(str::to_owned), lock: Some(lock) });
                }
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(StateError::io("lock", &path)(error)),
            }
        }
        let source = std::io::Error::other("other commands kept clearing it away");
        Err(StateError::io("create an entry in", &self.entries)(source))
    }

    /// The ids of all entries. Clears rubbish away in passing.
    pub(crate) fn list(&self) -> Result<Vec<String>, StateError> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.entries).map_err(StateError::io("read", &self.entries))? {
            let entry = entry.map_err(StateError::io("read", &self.entries))?;
            match entry.file_name().to_str() {
                Some(name) if name.starts_with(DRAFT_PREFIX) => self.sweep(&entry.path()),
                Some(name) if name.starts_with(GONE_PREFIX) => delete(&entry.path()),
                Some(name) if self.has(name) => ids.push(name.to_owned()),
                Some(name) if is_hexadecimal(name) => self.sweep(&entry.path()),
                _ => {}
            }
        }
        Ok(ids)
    }

    /// The id of the entry that a person calls `reference`: Docker's order of whole id, name, beginning of an id.
    pub(crate) fn find(&self, reference: &str, is_id: &dyn Fn(&str) -> bool) -> Result<String, StateError> {
        let reference = reference.strip_prefix('/').unwrap_or(reference);
        if is_id(reference) && self.has(reference) {
            return Ok(reference.to_owned());
        }
        if let Some(id) = self.find_name(reference)? {
            return Ok(id);
        }
        let missing = || StateError::NotFound { what: self.what, reference: reference.to_owned() };
        let is_prefix = !reference.is_empty() && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_prefix {
            return Err(missing());
        }
        let mut found = self.list()?.into_iter().filter(|id| id.starts_with(reference) && is_id(id));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (None, _) => Err(missing()),
            (Some(_), Some(_)) => Err(StateError::Ambiguous { what: self.what, reference: reference.to_owned() }),
        }
    }

    /// The id of the entry that has the name; a dead claim counts as none.
    pub(crate) fn find_name(&self, name: &str) -> Result<Option<String>, StateError> {
        if !is_name(name) {
            return Ok(None);
        }
        let path = self.names.join(name);
        match fs::read_to_string(&path) {
            Ok(id) => Ok(Some(id.trim_end().to_owned()).filter(|id| self.has(id))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::io("read", &path)(error)),
        }
    }

    /// Takes an entry and its name away. Not synced: after a power cut it may be back.
    pub(crate) fn remove(&self, id: &str, name: Option<&str>) -> Result<(), StateError> {
        let path = self.entries.join(id);
        let gone = self.temporary(GONE_PREFIX)?;
        let names = self.lock_names()?;
        fs::rename(&path, &gone).map_err(StateError::io("remove", &path))?;
        if let Some(name) = name.filter(|name| is_name(name)) {
            self.free(name, id)?;
        }
        drop(names);
        delete(&gone);
        Ok(())
    }

    /// Under the lock: the claim may have been dead, and be another's by now.
    fn free(&self, name: &str, id: &str) -> Result<(), StateError> {
        let claim = self.names.join(name);
        match fs::read_to_string(&claim) {
            Ok(owner) if owner.trim_end() == id => fs::remove_file(&claim).map_err(StateError::io("remove", &claim)),
            _ => Ok(()),
        }
    }

    /// Under the lock.
    fn claim(&self, name: &str, id: &str) -> Result<(), StateError> {
        if let Some(owner) = self.find_name(name)? {
            return Err(StateError::NameTaken { name: name.to_owned(), id: owner });
        }
        let path = self.names.join(name);
        file::replace(&path, format!("{id}\n").as_bytes()).map_err(StateError::io("write", &path))
    }

    fn lock_names(&self) -> Result<FileLock, StateError> {
        let path = self.names.join(".lock");
        FileLock::acquire(&path).map_err(StateError::io("lock", &path))
    }

    /// Whether there is an entry with this id.
    pub(crate) fn has(&self, id: &str) -> bool {
        // What a claim says is only ever an id of ours, but it becomes a path.
        is_hexadecimal(id) && fs::metadata(self.entries.join(id).join(self.record)).is_ok_and(|record| record.len() > 0)
    }

    fn temporary(&self, prefix: &str) -> Result<PathBuf, StateError> {
        let bytes = random::array().map_err(StateError::io("get random bytes for", &self.entries))?;
        Ok(self.entries.join(format!("{prefix}{:016x}", u64::from_ne_bytes(bytes))))
    }

    /// Deletes a draft whose maker is dead, or what a power cut left of an entry. Renamed under its lock first: a maker that is only about to take the lock
    /// then finds no directory, and begins anew.
    fn sweep(&self, path: &Path) {
        let Ok(Some(_lock)) = FileLock::try_acquire(&path.join(Self::LOCK)) else { return };
        let Ok(gone) = self.temporary(GONE_PREFIX) else { return };
        if fs::rename(path, &gone).is_ok() {
            delete(&gone);
        }
    }
}

/// An entry that nobody sees yet; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    shelf: &'a Shelf,
    path: PathBuf,
    name: Option<String>,
    /// Present until it is published.
    lock: Option<FileLock>,
}

impl Draft<'_> {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the record, claims the name and gives the directory its id; the last two are one step for everybody else.
    pub(crate) fn publish(mut self, id: &str, record: &[u8], durability: Durability) -> Result<FileLock, StateError> {
        let path = self.path.join(self.shelf.record);
        fs::write(&path, record).map_err(StateError::io("write", &path))?;
        if durability == Durability::Kept {
            sync(&path)?;
            file::sync_dir(&self.path).map_err(StateError::io("sync", &self.path))?;
        }
        let names = self.shelf.lock_names()?;
        if let Some(name) = &self.name {
            self.shelf.claim(name, id)?;
        }
        let entry = self.shelf.entries.join(id);
        if let Err(error) = fs::rename(&self.path, &entry) {
            self.name.iter().try_for_each(|name| self.shelf.free(name, id))?;
            return Err(StateError::io("create", &entry)(error));
        }
        drop(names);
        let lock = self.lock.take().expect("a draft holds its lock until it is published, which consumes it");
        if durability == Durability::Kept {
            self.keep()?;
        }
        Ok(lock)
    }

    /// One commit of the file system's journal serves all of these.
    fn keep(&self) -> Result<(), StateError> {
        if let Some(name) = &self.name {
            match sync(&self.shelf.names.join(name)) {
                // Removed again by somebody who was fast.
                Err(error) if error.is_not_found() => {}
                result => result?,
            }
            file::sync_dir(&self.shelf.names).map_err(StateError::io("sync", &self.shelf.names))?;
        }
        file::sync_dir(&self.shelf.entries).map_err(StateError::io("sync", &self.shelf.entries))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Published: the path is not ours any more.
        if self.lock.is_some() {
            delete(&self.path);
        }
    }
}

/// Deletes what nobody looks for. Others may be at it too, and what cannot be deleted now is tried again by the next
/// command that lists.
fn delete(path: &Path) {
    drop(fs::remove_dir_all(path));
}

fn sync(path: &Path) -> Result<(), StateError> {
    File::options().write(true).open(path).and_then(|file| file.sync_all()).map_err(StateError::io("sync", path))
}

fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a container or a VM may be called so: Docker's rule. It admits no separator and no leading dot, so that a name
/// is a file name and nothing else.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    (2..=MAX_NAME).contains(&name.len())
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests;
