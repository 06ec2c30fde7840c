//! What can go wrong between hull and a registry.

use crate::credentials::CredentialError;
use crate::foreign::one_line;
use crate::manifest::ManifestError;
use crate::store::StoreError;
use oci_spec::image::Digest;
use std::path::PathBuf;

/// A failed conversation with a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answered, or the conversation broke off.
    #[error("cannot talk to {url}")]
    Transport {
        /// What was asked for.
        url: String,
        /// What went wrong.
        #[source]
        source: Box<ureq::Error>,
    },
    /// A body broke off, or was no longer as announced.
    #[error("the answer of {url} broke off")]
    Body {
        /// What was asked for.
        url: String,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// The registry's certificate was not accepted.
    #[error(
        "the certificate of {authority} cannot be trusted: {reason}; put the certificate of its authority into \
         {}, or set SSL_CERT_FILE", .directory.display()
    )]
    Untrusted {
        /// Host and port.
        authority: String,
        /// Where a certificate authority for it would be looked for.
        directory: PathBuf,
        /// What the verification said.
        reason: String,
    },
    /// The name is not there.
    #[error("{what} not found{}", said(.detail))]
    NotFound {
        /// What was asked for.
        what: String,
        /// What the registry said.
        detail: String,
    },
    /// The registry wants other credentials, or any.
    #[error("access to {what} was denied{}; it does not exist, or `hull login {registry}` is needed", said(.detail))]
    Denied {
        /// What was asked for.
        what: String,
        /// Whose credentials are wanted.
        registry: String,
        /// What the registry said.
        detail: String,
    },
    /// Another refusal.
    #[error("{what}: the registry answered {status}{}", said(.detail))]
    Status {
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        detail: String,
    },
    /// It would not stop failing.
    #[error("gave up after {tries} tries")]
    GaveUp {
        /// How often it was tried.
        tries: u32,
        /// The last failure.
        #[source]
        source: Box<RegistryError>,
    },
    /// A document or blob is larger than it may be.
    #[error("{what} has more than {limit} bytes")]
    TooLarge {
        /// Which document.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A blob's length is not what the manifest says.
    #[error("{what} should have {expected} bytes, and the registry sends {found}")]
    Length {
        /// Which blob.
        what: String,
        /// According to its descriptor.
        expected: u64,
        /// According to the answer.
        found: u64,
    },
    /// The content is not what its name says.
    #[error("{what} should have the digest {expected}, and has {found}")]
    Digest {
        /// Which document.
        what: String,
        /// What was asked for.
        expected: String,
        /// What came.
        found: Digest,
    },
    /// A document cannot be read.
    #[error("{what} is malformed")]
    Malformed {
        /// Which document.
        what: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// An answer breaks the protocol.
    #[error("{what}: {reason}")]
    Protocol {
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The credentials are wrong.
    #[error("{server} does not accept the credentials{}", said(.detail))]
    Login {
        /// The registry, or the server that gives out its tokens.
        server: String,
        /// What it said.
        detail: String,
    },
    /// A document is not one that hull can use.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Plain HTTP, and nobody asked for it.
    #[error("{url} is plain HTTP, which is used for loopback addresses and insecure registries only")]
    Plain {
        /// Where the registry pointed to.
        url: String,
    },
    /// A certificate or key on this machine is unusable.
    #[error("cannot use {}: {reason}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A proxy's address is unusable.
    #[error("cannot use the proxy {0:?}; HTTP_PROXY, HTTPS_PROXY and ALL_PROXY hold URLs like http://host:3128")]
    Proxy(String),
    /// Another transfer of the same image failed first.
    #[error("cancelled")]
    Cancelled,
    /// The credentials on this machine cannot be read or written.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

impl RegistryError {
    /// Whether nobody is there to talk to: waiting a moment is of little use.
    pub(super) fn is_absent(&self) -> bool {
        let Self::Transport { source, .. } = self else { return false };
        match &**source {
            ureq::Error::HostNotFound => true,
            ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused || is_unknown_host(error),
            _ => false,
        }
    }

    /// Whether the same request may well succeed in a moment.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => is_transient(source),
            Self::Body { .. } => true,
            Self::Status { status, .. } => is_transient_status(*status),
            _ => false,
        }
    }
}

/// Too many requests, a time-out, or a server that is not well.
pub(super) fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Whether a name means no host. The standard library has no kind of error for what getaddrinfo(3) says.
fn is_unknown_host(error: &std::io::Error) -> bool {
    const WSAHOST_NOT_FOUND: i32 = 11001;
    let text = error.to_string();
    let unix = text.starts_with("failed to lookup address information") && !text.contains("Temporary");
    unix || error.raw_os_error() == Some(WSAHOST_NOT_FOUND)
}

fn is_transient(error: &ureq::Error) -> bool {
    match error {
        // What TLS objects to stays as it is.
        ureq::Error::Io(error) => super::tls::complaint(error).is_none(),
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

/// Makes one line, without control characters, of what a registry says in an error's body. Registries answer with a
/// list of `{code, message, detail}` (OCI distribution, "Error Codes"), token servers with `{details}` or `{error}`.
pub(super) fn explain(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    #[derive(serde::Deserialize)]
    struct Answer {
        #[serde(default)]
        errors: Vec<Entry>,
        #[serde(default)]
        details: Option<String>,
        #[serde(default)]
        error: Option<String>,
    }
    let line = match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { errors, .. }) if !errors.is_empty() => {
            let text =
                |entry: &Entry| if entry.message.is_empty() { entry.code.clone() } else { entry.message.clone() };
            errors.iter().map(text).collect::<Vec<_>>().join("; ")
        }
        Ok(Answer { details, error, .. }) => details.or(error).unwrap_or_default(),
        Err(_) => String::new(),
    };
    one_line(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says_becomes_one_line() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\nway\u001b[31m"},{"code":"UNKNOWN"}]}"#;
        assert_eq!(explain(body), "no way [31m; UNKNOWN");
        assert_eq!(explain(br#"{"details":"incorrect username or password"}"#), "incorrect username or password");
        assert_eq!(explain(b"<html>"), "");
        assert_eq!(explain(br#"{"errors":"x"}"#), "");
        let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(5000));
        assert_eq!(explain(long.as_bytes()).len(), 300);
    }

    #[test]
    fn who_is_not_there_is_not_waited_for() {
        let absent = |error| RegistryError::Transport {
            url: String::new(),
            source: Box::new(ureq::Error::Io(std::io::Error::other(error))),
        };
        let lookup = "failed to lookup address information: ";
        assert!(absent(format!("{lookup}Name or service not known")).is_absent());
        assert!(!absent(format!("{lookup}Temporary failure in name resolution")).is_absent());
        assert!(!absent("connection reset".to_owned()).is_absent());
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let status =
            |status| RegistryError::Status { what: String::new(), status, detail: String::new() }.is_transient();
        assert!(status(429) && status(503) && !status(404) && !status(401) && !status(501));
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let transport = RegistryError::Transport { url: String::new(), source: Box::new(ureq::Error::Io(reset)) };
        assert!(transport.is_transient());
        assert!(!RegistryError::Cancelled.is_transient());
    }
}
