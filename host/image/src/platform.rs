//! What an image is made for: an operating system, a processor, and the processor's variant.

use oci_spec::image::{Descriptor, ImageConfiguration};
use std::fmt;
use std::str::FromStr;

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}: it is written as os/architecture[/variant], linux/arm64 for example")]
pub struct PlatformError(String);

/// A platform, with the names that image specifications use.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// The operating system, `linux`.
    pub os: String,
    /// The processor's architecture, `amd64` for example.
    pub architecture: String,
    /// The processor's variant, `v7` for example; empty if it makes no difference.
    pub variant: String,
}

impl Platform {
    /// That of the machines that hull runs here: Linux on this host's processor.
    pub fn of_guest() -> Self {
        Self::new("linux", std::env::consts::ARCH, "")
    }

    fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("i386" | "i686" | "x86", variant) => ("386", variant),
            ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", "") | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", "") | ("arm", "6") => ("arm", "v6"),
            ("amd64", "v1") => ("amd64", ""),
            other => other,
        };
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.to_owned() }
    }

    /// The platform in an index's entry, if it says one.
    fn of_entry(entry: &Descriptor) -> Option<Self> {
        let said = entry.platform().as_ref()?;
        let variant = said.variant().as_deref().unwrap_or_default();
        Some(Self::new(&said.os().to_string(), &said.architecture().to_string(), variant))
    }

    /// What a configuration says that the image is made for.
    pub fn of_configuration(configuration: &ImageConfiguration) -> Self {
        let variant = configuration.variant().as_deref().unwrap_or_default();
        Self::new(&configuration.os().to_string(), &configuration.architecture().to_string(), variant)
    }

    /// How well something made for `other` does here: not at all, or the better the higher.
    fn suits(&self, other: &Self) -> Option<u32> {
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        if self.variant == other.variant {
            return Some(100);
        }
        let number =
            |variant: &str| variant.strip_prefix('v').unwrap_or(variant).parse::<u32>().ok().filter(|n| *n < 90);
        match (number(&self.variant), number(&other.variant)) {
            // A later variant of a processor runs what was made for an earlier one.
            (Some(wanted), Some(has)) => (has <= wanted).then_some(has),
            (Some(_), None) if other.variant.is_empty() => Some(1),
            // Nothing was said about the variant: the earliest is the safest.
            (None, Some(has)) if self.variant.is_empty() => Some(90 - has),
            _ => None,
        }
    }

    /// Whether an image made for `other` does here.
    pub fn accepts(&self, other: &Self) -> bool {
        self.suits(other).is_some()
    }

    /// The entry of an index that does best. One that says nothing about its platform is taken only if it is alone.
    pub fn choose<'a>(&self, entries: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let suited = entries.iter().filter_map(|entry| Some((self.suits(&Self::of_entry(entry)?)?, entry)));
        // The first of equals.
        let best = suited.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|(_, entry)| entry).or_else(|| match entries {
            [only] if only.platform().is_none() => Some(only),
            _ => None,
        })
    }

    /// What the entries of an index are for, as a list for a message.
    pub fn list(entries: &[Descriptor]) -> String {
        let mut names = entries
            .iter()
            .filter_map(Self::of_entry)
            .filter(|platform| platform.os != "unknown")
            .map(|platform| platform.to_string())
            .take(40)
            .collect::<Vec<_>>();
        names.dedup();
        if names.is_empty() { "no platform".to_owned() } else { names.join(", ") }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_ascii_lowercase();
        let word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let parts = lower.split('/').collect::<Vec<_>>();
        if !parts.iter().all(word) {
            return Err(PlatformError(text.to_owned()));
        }
        match parts[..] {
            ["linux"] => Ok(Self::of_guest()),
            // A lone word is an architecture: there is no other operating system to run.
            [architecture] => Ok(Self::new("linux", architecture, "")),
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err(PlatformError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    fn entry(platform: &str) -> Descriptor {
        let [os, architecture, variant] = [0, 1, 2].map(|at| platform.split('/').nth(at));
        let platform = os.map(|os| serde_json::json!({"os": os, "architecture": architecture, "variant": variant}));
        let digest = format!("sha256:{}", "0".repeat(64));
        let mut value = serde_json::json!({"mediaType": "x/y", "size": 1, "digest": digest});
        if !platform.as_ref().is_some_and(|platform| platform["os"] == "") {
            let mut platform = platform.unwrap();
            platform.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            value["platform"] = platform;
        }
        serde_json::from_value(value).unwrap()
    }

    fn chosen(wanted: &str, entries: &[&str]) -> Option<usize> {
        let entries = entries.iter().map(|text| entry(text)).collect::<Vec<_>>();
        let chosen = platform(wanted).choose(&entries)?;
        entries.iter().position(|entry| std::ptr::eq(entry, chosen))
    }

    #[test]
    fn names_are_made_one() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("x86_64", "linux/amd64"),
            ("Linux/AArch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(platform(text).to_string(), expected);
        }
        for text in ["", "/", "linux/", "a/b/c/d", "linux/am d64", "linux//v8"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_best_entry_is_chosen() {
        let usual = ["unknown/unknown", "linux/386", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64"];
        assert_eq!(chosen("linux/amd64", &usual), Some(5));
        assert_eq!(chosen("linux/arm64", &usual), Some(4));
        assert_eq!(chosen("linux/arm", &usual), Some(3));
        assert_eq!(chosen("linux/arm/v6", &usual), Some(2));
        assert_eq!(chosen("linux/arm/v5", &usual), None);
        assert_eq!(chosen("linux/s390x", &usual), None);
        assert_eq!(chosen("linux/amd64", &["linux/amd64/v3", "linux/amd64", "linux/amd64"]), Some(1));
        assert_eq!(chosen("linux/amd64", &["linux/amd64/v3", "linux/amd64/v2"]), Some(1));
    }

    #[test]
    fn an_entry_without_platform_is_taken_only_alone() {
        assert_eq!(chosen("linux/amd64", &[""]), Some(0));
        assert_eq!(chosen("linux/amd64", &["", ""]), None);
        assert_eq!(chosen("linux/amd64", &["", "linux/amd64"]), Some(1));
        assert_eq!(chosen("linux/amd64", &[]), None);
    }
}
