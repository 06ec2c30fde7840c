//! Records as JSON files that state their version.

use crate::{StateError, VERSION};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

/// What every version of a record has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads a record; the version comes first, because what another version wrote may have another shape.
pub(crate) fn read_record<T: DeserializeOwned>(path: &Path) -> Result<T, StateError> {
    let bytes = fs::read(path).map_err(StateError::io("read", path))?;
    if bytes.iter().all(|byte| *byte == 0) {
        // What a power cut left of an entry that did not have to survive it: see `shelf`.
        return Err(StateError::io("read", path)(io::ErrorKind::NotFound.into()));
    }
    let Versioned { version } = parse(path, &bytes)?;
    if version != VERSION {
        return Err(StateError::Version { path: path.to_owned(), found: version.to_string() });
    }
    parse(path, &bytes)
}

pub(crate) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StateError> {
    serde_json::from_slice(bytes).map_err(|source| StateError::Malformed { path: path.to_owned(), source })
}

/// JSON with a line end, for those who look at it with `cat`.
pub(crate) fn encode<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StateError> {
    let mut bytes =
        serde_json::to_vec(value).map_err(|source| StateError::Malformed { path: path.to_owned(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}
