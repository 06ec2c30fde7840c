//! Registries: pulling and pushing images by the OCI distribution protocol (version 1.1), which Docker's registries
//! speak too.
//!
//! ```text
//! pull, push, login        what users want                        blob      one blob as a stream that mends itself
//! session, auth, challenge a repository, and being let in         retry     how often and how long
//! transport, tls, proxy    a request and its answer               settings  mirrors, insecure registries, limits
//! ```
//!
//! Blocking calls on a few threads: a pull is a handful of streams, each read by the one thread that unpacks it.

mod auth;
mod blob;
mod challenge;
mod endpoint;
mod error;
mod proxy;
mod pull;
mod push;
mod retry;
mod session;
mod settings;
mod tls;
mod transport;

use crate::credentials::{Credential, Keychain, Single};
use crate::reference::Reference;
use endpoint::Endpoint;
use session::{Server, Session};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use transport::Transport;

pub use error::RegistryError;
pub use pull::Pulled;
pub use push::Pushed;
pub use settings::{Settings, SettingsError, default_files};

/// A client of registries. It keeps connections and tokens, so that one client should do what belongs together.
#[derive(Debug)]
pub struct Client {
    transport: Arc<Transport>,
    keychain: Arc<dyn Keychain>,
    servers: Mutex<HashMap<Endpoint, Arc<Server>>>,
}

impl Client {
    /// A client that shows what `keychain` knows. Proxies come from the environment.
    pub fn new(settings: Settings, keychain: Arc<dyn Keychain>) -> Self {
        Self { transport: Arc::new(Transport::new(settings)), keychain, servers: Mutex::default() }
    }

    /// Finds out whether a registry accepts a credential. It is not kept: that is the matter of
    /// [`DockerConfig::store`](crate::credentials::DockerConfig::store).
    ///
    /// # Errors
    /// [`RegistryError::Login`] if it does not, and whatever else can go wrong on the way.
    pub fn login(&self, registry: &str, credential: &Credential) -> Result<(), RegistryError> {
        let keychain = Arc::new(Single { registry: registry.to_owned(), credential: credential.clone() });
        let client = Self { transport: self.transport.clone(), keychain, servers: Mutex::default() };
        client.session(&Endpoint::of(registry), "", String::new())?.check_credentials()
    }

    /// Where a reference may be pulled from: mirrors, then the registry itself.
    fn endpoints(&self, reference: &Reference) -> Vec<Endpoint> {
        let mirrors = self.settings().mirrors.get(reference.registry()).into_iter().flatten();
        mirrors.filter_map(|url| endpoint::parse_mirror(url)).chain([Endpoint::of(reference.registry())]).collect()
    }

    fn settings(&self) -> &Settings {
        &self.transport.settings
    }

    fn session(&self, endpoint: &Endpoint, repository: &str, scope: String) -> Result<Session, RegistryError> {
        let known = self.servers.lock().unwrap_or_else(PoisonError::into_inner).get(endpoint).cloned();
        let server = match known {
            Some(server) => server,
            None => {
                let credential = self.keychain.credential(&endpoint.account)?;
                let server = Arc::new(Server::connect(&self.transport, endpoint, credential)?);
                // Another thread may have been first; then its tokens are the ones to use.
                let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
                servers.entry(endpoint.clone()).or_insert(server).clone()
            }
        };
        Ok(Session { transport: self.transport.clone(), server, repository: repository.to_owned(), scope })
    }
}

/// What a token must be good for.
fn scope(repository: &str, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

#[cfg(test)]
mod tests;
