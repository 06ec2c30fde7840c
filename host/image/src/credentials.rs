//! Who the user is at which registry: Docker's `config.json` and credential helpers.
//!
//! The file is `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`, shared with Docker itself: what hull does
//! not know in it stays as it is. Credentials stand in it, encoded but not encrypted, unless a helper program keeps
//! them (`credsStore`, `credHelpers`): then the program `docker-credential-NAME` is asked.

mod file;
mod helper;

use crate::reference::{DEFAULT_REGISTRY, is_registry};
use std::fmt;
use std::io;
use std::path::PathBuf;

pub use file::DockerConfig;

/// Docker Hub's name in the file, a URL for historical reasons.
const HUB: &str = "https://index.docker.io/v1/";

/// What proves who the user is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user name with a password or an access token.
    Password {
        /// The user.
        username: String,
        /// The secret.
        password: String,
    },
    /// What a token server gave out to be traded for access tokens.
    IdentityToken(String),
    /// A token that is shown to the registry as it is.
    RegistryToken(String),
}

/// Secrets are not for logs.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
            Self::RegistryToken(_) => f.write_str("RegistryToken"),
        }
    }
}

/// Somebody who knows credentials.
pub trait Keychain: Send + Sync + fmt::Debug {
    /// The credential for a registry, named as in a reference, if there is one.
    ///
    /// # Errors
    /// If credentials are kept but cannot be had.
    fn credential(&self, registry: &str) -> Result<Option<Credential>, CredentialError>;
}

/// No credentials for anybody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Keychain for Anonymous {
    fn credential(&self, _: &str) -> Result<Option<Credential>, CredentialError> {
        Ok(None)
    }
}

/// One credential for one registry, as it comes with a request or from a command line.
#[derive(Debug, Clone)]
pub struct Single {
    /// The registry, named as in a reference.
    pub registry: String,
    /// What it is shown.
    pub credential: Credential,
}

impl Keychain for Single {
    fn credential(&self, registry: &str) -> Result<Option<Credential>, CredentialError> {
        Ok((registry == self.registry).then(|| self.credential.clone()))
    }
}

/// Where Docker's configuration lies: `$DOCKER_CONFIG`, else `~/.docker`.
pub fn configuration_directory() -> Option<PathBuf> {
    let set = std::env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    set.or_else(|| std::env::home_dir().map(|home| home.join(".docker")))
}

/// The name under which a registry's credentials are kept.
fn key(registry: &str) -> &str {
    if registry == DEFAULT_REGISTRY { HUB } else { registry }
}

/// The registry that a key in the file means: it may be a URL.
fn registry_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = bare.split('/').next().unwrap_or_default();
    if matches!(host, "index.docker.io" | "registry-1.docker.io") { DEFAULT_REGISTRY } else { host }
}

/// The registry that a person means by a name or an address, if it can be one; Docker Hub by the address under which its
/// credentials are kept.
pub fn registry_called(text: &str) -> Option<&str> {
    let registry = registry_of(text.trim_end_matches('/'));
    is_registry(registry).then_some(registry)
}

/// Why credentials cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Nobody knows where the file would be.
    #[error("no home directory; set DOCKER_CONFIG to a directory for config.json")]
    NoHome,
    /// The system refused something.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was being done, as in "read".
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{} is malformed: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The name of a helper is none.
    #[error("{} names the credential helper {name:?}, which cannot be a program's name", .path.display())]
    HelperName {
        /// The file.
        path: PathBuf,
        /// What stands there.
        name: String,
    },
    /// A helper does not run, or says something else than it should.
    #[error("the credential helper {program} failed to {action}: {reason}")]
    Helper {
        /// The program.
        program: String,
        /// What it was asked, as in "get".
        action: &'static str,
        /// What it said, or how it ended.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let password = Credential::Password { username: "ann".to_owned(), password: "hush".to_owned() };
        let token = Credential::IdentityToken("hush".to_owned());
        let shown = format!("{password:?} {token:?} {:?}", Credential::RegistryToken("hush".to_owned()));
        assert!(shown.contains("ann") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn keys_name_registries() {
        for (key, registry) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("docker.io", "docker.io"),
            ("localhost:5000", "localhost:5000"),
            ("https://a.example:5000/v2/", "a.example:5000"),
        ] {
            assert_eq!(registry_of(key), registry);
        }
        assert_eq!(registry_called("https://index.docker.io/v1/"), Some("docker.io"));
        assert_eq!(registry_called("localhost:5000/"), Some("localhost:5000"));
        assert_eq!([registry_called(""), registry_called("a b"), registry_called("a:x")], [None; 3]);
        assert_eq!((key("docker.io"), key("a.b")), (HUB, "a.b"));
    }
}
