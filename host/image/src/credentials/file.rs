//! `config.json`, read for its credentials and changed by login and logout.

use super::helper::Helper;
use super::{Credential, CredentialError, Keychain, configuration_directory, key, registry_of};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::fs;
use std::io;
use std::path::PathBuf;

/// Largest file that is read.
const MAX_FILE: u64 = 4 << 20;

/// Docker's configuration file. It is read anew for every question: another program may have changed it.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    path: PathBuf,
}

impl DockerConfig {
    /// The file at a path, which need not exist.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The user's.
    ///
    /// # Errors
    /// If the user has no home and `DOCKER_CONFIG` is not set.
    pub fn of_user() -> Result<Self, CredentialError> {
        let directory = configuration_directory().ok_or(CredentialError::NoHome)?;
        Ok(Self::at(directory.join("config.json")))
    }

    /// Keeps a credential, with the helper that the file names or in the file itself. True if it now stands in the file,
    /// where it is encoded but not encrypted.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn store(&self, registry: &str, credential: &Credential) -> Result<bool, CredentialError> {
        let mut document = self.read()?;
        if let Some(helper) = self.helper(&document, registry)? {
            helper.store(key(registry), credential)?;
            return Ok(false);
        }
        let entry = match credential {
            Credential::Password { username, password } => {
                json!({"auth": STANDARD.encode(format!("{username}:{password}"))})
            }
            Credential::IdentityToken(token) => json!({"identitytoken": token}),
            Credential::RegistryToken(token) => json!({"registrytoken": token}),
        };
        let auths = document.entry("auths").or_insert_with(|| json!({}));
        let auths = auths.as_object_mut().ok_or_else(|| self.malformed("\"auths\" is no object"))?;
        auths.retain(|known, _| registry_of(known) != registry);
        auths.insert(key(registry).to_owned(), entry);
        self.write(&document)?;
        Ok(true)
    }

    /// Forgets a credential. False if there was none.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn erase(&self, registry: &str) -> Result<bool, CredentialError> {
        let mut document = self.read()?;
        let mut known = false;
        if let Some(helper) = self.helper(&document, registry)? {
            known = helper.get(key(registry))?.is_some();
            helper.erase(key(registry))?;
        }
        if let Some(auths) = document.get_mut("auths").and_then(Value::as_object_mut) {
            let before = auths.len();
            auths.retain(|known, _| registry_of(known) != registry);
            if auths.len() != before {
                known = true;
                self.write(&document)?;
            }
        }
        Ok(known)
    }

    fn helper(&self, document: &Map<String, Value>, registry: &str) -> Result<Option<Helper>, CredentialError> {
        let of_registry = document.get("credHelpers").and_then(Value::as_object).and_then(|helpers| {
            let found = helpers.iter().find(|(known, _)| registry_of(known) == registry);
            found.map(|(_, name)| name)
        });
        let name = of_registry.or_else(|| document.get("credsStore")).and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() {
            return Ok(None);
        }
        let wrong = || CredentialError::HelperName { path: self.path.clone(), name: name.to_owned() };
        Helper::new(name).map(Some).ok_or_else(wrong)
    }

    fn read(&self) -> Result<Map<String, Value>, CredentialError> {
        let failed = |source| CredentialError::Io { action: "read", path: self.path.clone(), source };
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > MAX_FILE => return Err(self.malformed("it is larger than 4 MiB")),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Map::new());
            }
            Err(error) => return Err(failed(error)),
        }
        let text = fs::read(&self.path).map_err(failed)?;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        serde_json::from_slice(&text).map_err(|error| self.malformed(&error.to_string()))
    }

    fn write(&self, document: &Map<String, Value>) -> Result<(), CredentialError> {
        // A link to the file, as people keep it under version control, stays a link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let failed = |source| CredentialError::Io { action: "write", path: path.clone(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut text = serde_json::to_vec_pretty(document).map_err(|error| self.malformed(&error.to_string()))?;
        text.push(b'\n');
        hull_platform::file::write_atomic(&path, &text).map_err(failed)
    }

    fn entry(&self, entry: &Value) -> Result<Option<Credential>, CredentialError> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credential::IdentityToken(token.to_owned())));
        }
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credential::RegistryToken(token.to_owned())));
        }
        if let Some(auth) = text("auth") {
            let wrong = || self.malformed("an \"auth\" is not base64 of user:password");
            let decoded = STANDARD.decode(auth.trim()).map_err(|_| wrong())?;
            let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
            let (username, password) = decoded.split_once(':').ok_or_else(wrong)?;
            let password = password.trim_end_matches('\0');
            return Ok(Some(Credential::Password { username: username.to_owned(), password: password.to_owned() }));
        }
        Ok(text("username").zip(text("password")).map(|(username, password)| Credential::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        }))
    }

    fn malformed(&self, reason: &str) -> CredentialError {
        CredentialError::Malformed { path: self.path.clone(), reason: reason.to_owned() }
    }
}

impl Keychain for DockerConfig {
    fn credential(&self, registry: &str) -> Result<Option<Credential>, CredentialError> {
        let document = self.read()?;
        if let Some(helper) = self.helper(&document, registry)?
            && let Some(credential) = helper.get(key(registry))?
        {
            return Ok(Some(credential));
        }
        let Some(auths) = document.get("auths").and_then(Value::as_object) else { return Ok(None) };
        let exact = auths.get(key(registry));
        let found =
            exact.or_else(|| auths.iter().find(|(known, _)| registry_of(known) == registry).map(|(_, entry)| entry));
        found.map_or(Ok(None), |entry| self.entry(entry))
    }
}

#[cfg(test)]
mod tests;
