//! Talking to a credential helper: a program `docker-credential-NAME` with one argument (`get`, `store`, `erase`), a
//! question on its standard input and an answer on its standard output (the docker-credential-helpers protocol).

use super::{Credential, CredentialError};
use crate::foreign::one_line;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};

/// Largest answer that is read.
const MAX_ANSWER: u64 = 1 << 20;
/// The user name of an entry that is an identity token.
const TOKEN_USER: &str = "<token>";
/// What every helper says when it knows nothing; it is not an error.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// What helpers exchange.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

/// A helper program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Helper {
    program: String,
}

impl Helper {
    /// The helper of that name, if it can be one: it must not lead to a program elsewhere.
    pub fn new(name: &str) -> Option<Self> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let named = !name.is_empty() && name.bytes().all(valid);
        named.then(|| Self { program: format!("docker-credential-{name}") })
    }

    pub fn get(&self, key: &str) -> Result<Option<Credential>, CredentialError> {
        let (status, output) = self.run("get", key.as_bytes())?;
        if !status.success() {
            let said = one_line(&String::from_utf8_lossy(&output));
            return if said.contains(NOT_FOUND) { Ok(None) } else { Err(self.failed("get", said_or(&said, status))) };
        }
        let entry = serde_json::from_slice::<Entry>(&output)
            .map_err(|error| self.failed("get", format!("it answers no credentials: {error}")))?;
        if entry.username.is_empty() && entry.secret.is_empty() {
            return Ok(None);
        }
        Ok(Some(match entry.username.as_str() {
            TOKEN_USER => Credential::IdentityToken(entry.secret),
            _ => Credential::Password { username: entry.username, password: entry.secret },
        }))
    }

    pub fn store(&self, key: &str, credential: &Credential) -> Result<(), CredentialError> {
        let (username, secret) = match credential {
            Credential::Password { username, password } => (username.as_str(), password),
            Credential::IdentityToken(token) | Credential::RegistryToken(token) => (TOKEN_USER, token),
        };
        let entry = Entry { server_url: key.to_owned(), username: username.to_owned(), secret: secret.clone() };
        let question = serde_json::to_vec(&entry).map_err(|error| self.failed("store", error.to_string()))?;
        self.tell("store", &question)
    }

    pub fn erase(&self, key: &str) -> Result<(), CredentialError> {
        match self.tell("erase", key.as_bytes()) {
            Err(CredentialError::Helper { reason, .. }) if reason.contains(NOT_FOUND) => Ok(()),
            other => other,
        }
    }

    fn tell(&self, action: &'static str, question: &[u8]) -> Result<(), CredentialError> {
        let (status, output) = self.run(action, question)?;
        if status.success() {
            Ok(())
        } else {
            Err(self.failed(action, said_or(&one_line(&String::from_utf8_lossy(&output)), status)))
        }
    }

    fn run(&self, action: &'static str, question: &[u8]) -> Result<(ExitStatus, Vec<u8>), CredentialError> {
        let failed = |error: std::io::Error| self.failed(action, error.to_string());
        let mut child = Command::new(&self.program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut input) = child.stdin.take() {
            // A helper may end without reading; what it then says is what counts.
            drop(input.write_all(question));
        }
        let mut answer = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(MAX_ANSWER).read_to_end(&mut answer).map_err(failed)?;
        }
        Ok((child.wait().map_err(failed)?, answer))
    }

    fn failed(&self, action: &'static str, reason: String) -> CredentialError {
        CredentialError::Helper { program: self.program.clone(), action, reason }
    }
}

fn said_or(said: &str, status: ExitStatus) -> String {
    if said.is_empty() { status.to_string() } else { said.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        assert_eq!(Helper::new("pass").unwrap().program, "docker-credential-pass");
        for name in ["", "../x", "a/b", "a b", "a\0"] {
            assert_eq!(Helper::new(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_missing_helper_is_named() {
        let error = Helper::new("hull-test-absent").unwrap().get("x").unwrap_err().to_string();
        assert!(error.contains("docker-credential-hull-test-absent"), "{error}");
    }
}
