//! What users call an image: Docker's reference grammar, with its defaults.
//!
//! `[registry[:port]/]path[:tag][@digest]`; without a registry it is Docker Hub's, where a path of one component is in
//! `library/`, and without tag and digest the tag is `latest`. The grammar is that of the distribution project's
//! reference package. It is parsed here by hand: a reference is read at every `hull run`, and compiling the grammar
//! as a regular expression would cost more than the rest of the look-up.

use oci_spec::image::{Digest, DigestAlgorithm};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Where a name without a registry comes from.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag of a name that has neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";

const LEGACY_DEFAULT_REGISTRY: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference format: {reason}: {text:?}")]
pub struct ReferenceError {
    /// What was given, cut to a readable length.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The name of an image, complete: nothing is left to defaults.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a reference in its familiar or its full form, and adds the tag `latest` where it has neither tag nor digest.
    ///
    /// # Errors
    /// If the text does not follow the grammar.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let mut reference = Self::parse_name(text)?;
        if reference.digest.is_none() {
            reference.tag.get_or_insert_with(|| DEFAULT_TAG.to_owned());
        }
        Ok(reference)
    }

    /// As [`Reference::parse`], but a name that has neither tag nor digest stays so: it stands for the repository.
    ///
    /// # Errors
    /// If the text does not follow the grammar.
    pub fn parse_name(text: &str) -> Result<Self, ReferenceError> {
        Self::read(text).map_err(|reason| ReferenceError { text: text.chars().take(300).collect(), reason })
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(read_digest(digest)?)),
            None => (text, None),
        };
        // A colon before a slash belongs to a registry's port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err("a tag has up to 128 characters of [A-Za-z0-9_.-] and does not start with . or -");
        }
        let (registry, path) = split_registry(name);
        if !is_registry(registry) {
            return Err("this cannot be a registry's name");
        }
        check_repository(path)?;
        let registry = if registry == LEGACY_DEFAULT_REGISTRY { DEFAULT_REGISTRY } else { registry };
        let official = if registry == DEFAULT_REGISTRY && !path.contains('/') { OFFICIAL } else { "" };
        Ok(Self {
            registry: registry.to_owned(),
            repository: format!("{official}{path}"),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// The registry: a host name or address, with its port where one was given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest if there is one, else the tag.
    pub fn target(&self) -> &str {
        self.digest.as_ref().map(AsRef::as_ref).or(self.tag.as_deref()).unwrap_or(DEFAULT_TAG)
    }

    /// The same repository with another tag.
    ///
    /// # Errors
    /// If `tag` cannot be one.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            let text = tag.chars().take(300).collect();
            return Err(ReferenceError { text, reason: "this cannot be a tag" });
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository at a digest, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// Registry and path, complete.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Registry and path as people write them: Docker Hub and its `library/` go without saying.
    pub fn familiar_name(&self) -> String {
        let full = self.name();
        if self.registry != DEFAULT_REGISTRY {
            return full;
        }
        let short = match self.repository.strip_prefix(OFFICIAL) {
            Some(rest) if !rest.contains('/') => rest,
            _ => &self.repository,
        };
        // A path such as `localhost/x` would be read back as another registry's.
        let same = Self::read(short).is_ok_and(|again| again.name() == full);
        if same { short.to_owned() } else { full }
    }

    /// The reference as people write it, as [`Reference::familiar_name`], with tag and digest.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }

    fn key(&self) -> (&str, &str, Option<&str>, Option<&str>) {
        (&self.registry, &self.repository, self.tag.as_deref(), self.digest.as_ref().map(AsRef::as_ref))
    }
}

/// The full form, which [`Reference::parse`] reads back as the same reference.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse_name(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl Ord for Reference {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Reference {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The first component is a registry if it could not be anything else.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if looks_like_registry(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn looks_like_registry(component: &str) -> bool {
    component.contains(['.', ':'])
        || component == "localhost"
        || component.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Whether a text names a registry: a host name, an IPv4 address, or an IPv6 address in brackets, and a port.
pub(crate) fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| {
        port.is_empty() || port.parse::<u16>().is_err() || !port.bytes().all(|b| b.is_ascii_digit())
    }) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn check_repository(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the repository's name is missing");
    }
    if path.len() > MAX_REPOSITORY {
        return Err("the repository's name has more than 255 characters");
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("the repository's name must be lowercase");
    }
    if path.len() == 64 && path.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("64 hexadecimal digits are an image's id, not a name");
    }
    if path.split('/').all(is_component) { Ok(()) } else { Err("this cannot be a repository's name") }
}

/// Letters and digits, with separators between them: one dot, one or two underscores, or any number of dashes.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separator = String::new();
    for byte in text.bytes() {
        if alphanumeric(byte) {
            let known =
                matches!(separator.as_str(), "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
            if !known {
                return false;
            }
            separator.clear();
        } else if byte.is_ascii() {
            separator.push(char::from(byte));
        } else {
            return false;
        }
    }
    separator.is_empty() && text.bytes().next().is_some_and(alphanumeric)
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

fn read_digest(text: &str) -> Result<Digest, &'static str> {
    let digest = Digest::from_str(text).map_err(|_| "a digest is sha256: and 64 hexadecimal digits")?;
    match digest.algorithm() {
        DigestAlgorithm::Sha256 | DigestAlgorithm::Sha384 | DigestAlgorithm::Sha512 => Ok(digest),
        _ => Err("unsupported digest algorithm"),
    }
}

#[cfg(test)]
mod tests;
