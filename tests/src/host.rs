//! One backend on this host, with the VM that most tests share.

use crate::install::Install;
use crate::sandbox::Sandbox;
use anyhow::{Result, anyhow};
use std::sync::OnceLock;

/// A backend under test.
pub struct Host {
    /// Its name, as in `--backend`.
    pub backend: String,
    install: Install,
    shared: OnceLock<Result<Sandbox, String>>,
}

impl Host {
    /// A backend under test.
    pub fn new(install: Install, backend: &str) -> Self {
        Self { backend: backend.to_owned(), install, shared: OnceLock::new() }
    }

    /// The sandbox whose containers share one named VM, which the first of them boots. For every test that is about
    /// containers and not about the VM; such a test removes its containers and expects others beside them.
    ///
    /// # Errors
    /// If it could not be made.
    pub fn shared(&self) -> Result<&Sandbox> {
        let make = || Sandbox::new(&self.install, &self.backend, Some("shared")).map_err(|error| format!("{error:#}"));
        self.shared.get_or_init(make).as_ref().map_err(|error| anyhow!("no shared sandbox: {error}"))
    }

    /// An empty sandbox whose containers have VMs of their own.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn fresh(&self) -> Result<Sandbox> {
        Sandbox::new(&self.install, &self.backend, None)
    }

    /// An empty sandbox with another program or other assets.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn fresh_with(&self, install: &Install) -> Result<Sandbox> {
        Sandbox::new(install, &self.backend, None)
    }

    /// The program and assets under test.
    pub fn install(&self) -> &Install {
        &self.install
    }
}
