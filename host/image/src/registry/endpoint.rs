//! Where a registry's repositories are asked for: its base URL, and the addresses that its answers point to.

use super::error::RegistryError;
use crate::reference::{DEFAULT_REGISTRY, is_registry};
use ureq::http::Uri;

/// Where Docker Hub's registry answers.
const HUB: &str = "registry-1.docker.io";

/// One server that speaks the distribution protocol, before it is known whether it speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    /// `host[:port]`.
    pub authority: String,
    /// What stands before `/v2/`; empty, or starts with a slash.
    pub prefix: String,
    /// The scheme, where the user gave one.
    pub scheme: Option<&'static str>,
    /// The name under which its credentials are kept.
    pub account: String,
}

impl Endpoint {
    /// That of the registry in a reference.
    pub fn of(registry: &str) -> Self {
        let authority = if registry == DEFAULT_REGISTRY { HUB } else { registry };
        Self { authority: authority.to_owned(), prefix: String::new(), scheme: None, account: registry.to_owned() }
    }
}

/// Reads a mirror's base URL: `http(s)://host[:port][/path]`.
pub(super) fn parse_mirror(url: &str) -> Option<Endpoint> {
    let (scheme, rest) = match url.split_once("://")? {
        ("https", rest) => ("https", rest),
        ("http", rest) => ("http", rest),
        _ => return None,
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if !is_registry(authority) || !path.bytes().all(plain) {
        return None;
    }
    let prefix = if path.is_empty() { String::new() } else { format!("/{path}") };
    Some(Endpoint { authority: authority.to_owned(), prefix, scheme: Some(scheme), account: authority.to_owned() })
}

/// `host[:port]` of a URL.
pub(super) fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", |authority| authority.as_str())
}

/// The address that `location` means in an answer from `base` (RFC 3986, section 5.2, without dot segments, which no
/// registry needs).
///
/// # Errors
/// If it is no address of the web, or has credentials in it.
pub(super) fn resolve(base: &Uri, location: &str) -> Result<Uri, RegistryError> {
    let wrong = |reason: &str| RegistryError::Protocol {
        what: base.to_string(),
        reason: format!("it points to {:?}, {reason}", location.chars().take(200).collect::<String>()),
    };
    let scheme = base.scheme_str().unwrap_or("https");
    let root = format!("{scheme}://{}", authority(base));
    let location = location.split('#').next().unwrap_or_default();
    let absolute = if location.contains("://") && !location.starts_with(['/', '?']) {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{root}{location}")
    } else if location.starts_with('?') {
        format!("{root}{}{location}", base.path())
    } else if location.is_empty() {
        return Err(wrong("which is no address"));
    } else {
        let parent = base.path().rsplit_once('/').map_or("", |(parent, _)| parent);
        format!("{root}{parent}/{location}")
    };
    let uri = absolute.parse::<Uri>().map_err(|_| wrong("which is no address"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || authority(&uri).is_empty() {
        return Err(wrong("which is no address of the web"));
    }
    if authority(&uri).contains('@') {
        return Err(wrong("with credentials in it"));
    }
    Ok(uri)
}

/// The address with `name=value` added to its query; the value is escaped.
pub(super) fn with_query(uri: &Uri, parameters: &[(&str, &str)]) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let mut text = uri.to_string();
    for (name, value) in parameters {
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(name);
        text.push('=');
        text.extend(utf8_percent_encode(value, KEPT));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_urls() {
        let mirror = parse_mirror("https://m.example:5000/a/b/").unwrap();
        assert_eq!((mirror.authority.as_str(), mirror.prefix.as_str()), ("m.example:5000", "/a/b"));
        assert_eq!(parse_mirror("http://localhost:5000").unwrap().prefix, "");
        for text in ["m.example", "ftp://m", "https://", "https://u:p@m", "https://m?x", "https://m/#x"] {
            assert!(parse_mirror(text).is_none(), "{text}");
        }
    }

    #[test]
    fn locations_are_resolved() {
        let base: Uri = "https://r.example:5000/v2/a/blobs/x?y=1".parse().unwrap();
        for (location, expected) in [
            ("https://cdn.example/b?c=d", "https://cdn.example/b?c=d"),
            ("//cdn.example/b", "https://cdn.example/b"),
            ("/v2/z?s=://", "https://r.example:5000/v2/z?s=://"),
            ("?s=1", "https://r.example:5000/v2/a/blobs/x?s=1"),
            ("z", "https://r.example:5000/v2/a/blobs/z"),
            ("/z#part", "https://r.example:5000/z"),
        ] {
            assert_eq!(resolve(&base, location).unwrap().to_string(), expected);
        }
        for location in ["", "ftp://a/b", "file:///etc/passwd", "https://u:p@a/b", "https:///b", "http://a b/"] {
            assert!(resolve(&base, location).is_err(), "{location:?}");
        }
    }

    #[test]
    fn values_are_escaped() {
        let uri: Uri = "https://a/token?x=1".parse().unwrap();
        let expected = "https://a/token?x=1&scope=repository%3Aa%2Fb%3Apull%2Cpush";
        assert_eq!(with_query(&uri, &[("scope", "repository:a/b:pull,push")]), expected);
    }
}
