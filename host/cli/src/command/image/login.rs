//! `hull login` and `hull logout`.

use crate::failure::Failure;
use crate::{output, question};
use clap::Args;
use hull_engine::Engine;
use hull_engine::images::{Credential, default_registry, registry_called};
use hull_platform::terminal::{Standard, is_terminal};

/// Show credentials to a registry and keep them.
#[derive(Debug, Args)]
pub struct Login {
    /// User name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password, or access token; others can see it in the list of processes
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Take the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// The registry, by default Docker Hub
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
}

/// Forget the credentials for a registry.
#[derive(Debug, Args)]
pub struct Logout {
    /// The registry, by default Docker Hub
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
}

fn registry(given: Option<&String>) -> Result<&str, Failure> {
    Ok(given.map_or(Ok(default_registry()), |text| registry_called(text))?)
}

impl Login {
    pub fn run(self) -> Result<u8, Failure> {
        let registry = registry(self.registry.as_ref())?;
        let engine = Engine::open()?;
        if self.password.is_some() {
            output::say("WARNING: others can see a password in the list of processes; use --password-stdin");
        }
        let credential = self.credential(&engine, registry)?;
        if engine.login(registry, &credential)? {
            output::say(
                "WARNING: the credentials are kept unencrypted in Docker's config.json; a credential helper keeps them safe",
            );
        }
        output::print_line("Login Succeeded")?;
        Ok(0)
    }

    fn credential(&self, engine: &Engine, registry: &str) -> Result<Credential, Failure> {
        if self.password_stdin && self.username.is_none() {
            return Err(Failure::new("Must provide --username with --password-stdin"));
        }
        if self.username.is_none()
            && self.password.is_none()
            && let Some(kept) = engine.kept_credential(registry)?
        {
            output::print_line("Authenticating with existing credentials...")?;
            return Ok(kept);
        }
        let given = self.username.is_some() && (self.password.is_some() || self.password_stdin);
        if !given && !is_terminal(Standard::Input) {
            return Err(Failure::new(
                "cannot ask for credentials without a terminal: give --username and --password-stdin",
            ));
        }
        let username = match &self.username {
            Some(username) => username.clone(),
            None => question::ask("Username: ")?,
        };
        let password = match &self.password {
            Some(password) => password.clone(),
            None if self.password_stdin => question::read_secret()?,
            None => question::ask_password("Password: ")?,
        };
        if username.is_empty() || password.is_empty() {
            return Err(Failure::new("username and password must not be empty"));
        }
        Ok(Credential::Password { username, password })
    }
}

impl Logout {
    pub fn run(self) -> Result<u8, Failure> {
        let registry = registry(self.registry.as_ref())?;
        let known = Engine::open()?.logout(registry)?;
        let said = if known { "Removing login credentials for" } else { "Not logged in to" };
        output::print_line(format!("{said} {registry}"))?;
        Ok(0)
    }
}
