//! Which images a filter lets through.

use super::ImageSummary;
use crate::error::EngineError;
use hull_image::Reference;

/// Docker's filters. Values of one key are alternatives (of `label`, conditions), keys are conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFilters {
    references: Vec<String>,
    labels: Vec<String>,
    dangling: Option<bool>,
}

impl ImageFilters {
    /// Reads `key=value` texts.
    ///
    /// # Errors
    /// An unknown key, or a value that the key cannot have.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, EngineError> {
        let mut filters = Self::default();
        for text in texts {
            let invalid = |why: &str| EngineError::Invalid(format!("invalid filter '{}': {why}", text.as_ref()));
            let (key, value) = text.as_ref().split_once('=').ok_or_else(|| invalid("expected key=value"))?;
            match key.trim() {
                "reference" => filters.references.push(value.to_owned()),
                "label" => filters.labels.push(value.to_owned()),
                "dangling" => match value {
                    "true" | "1" => filters.dangling = Some(true),
                    "false" | "0" => filters.dangling = Some(false),
                    _ => return Err(invalid("expected true or false")),
                },
                _ => return Err(invalid("the keys are dangling, label, reference")),
            }
        }
        Ok(filters)
    }

    /// One more pattern for names.
    pub fn add_reference(&mut self, pattern: String) {
        self.references.push(pattern);
    }

    /// Whether an image is let through; the names that do not fit are taken from it.
    pub fn apply(&self, image: &mut ImageSummary) -> bool {
        let label = |label: &String| match label.split_once('=') {
            Some((key, value)) => image.labels.get(key).is_some_and(|is| is == value),
            None => image.labels.contains_key(label),
        };
        if !self.labels.iter().all(label) || self.dangling.is_some_and(|dangling| dangling != image.tags.is_empty()) {
            return false;
        }
        if self.references.is_empty() {
            return true;
        }
        let fits = |name: &Reference| self.references.iter().any(|pattern| matches(pattern, name));
        image.tags.retain(fits);
        image.digests.retain(fits);
        !image.tags.is_empty() || !image.digests.is_empty()
    }
}

/// Whether a pattern fits a name as people write it, whole or without its tag.
fn matches(pattern: &str, name: &Reference) -> bool {
    let pattern: Vec<_> = pattern.chars().collect();
    [name.familiar(), name.familiar_name()].iter().any(|text| glob(&pattern, &text.chars().collect::<Vec<_>>()))
}

/// `*` is anything and `?` any character, but for slashes.
fn glob(pattern: &[char], text: &[char]) -> bool {
    // Where to go on if what follows the last star does not fit: that star takes one character more.
    let (mut at, mut read, mut retry) = (0, 0, None);
    while read < text.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at, read));
                at += 1;
                continue;
            }
            Some(letter) if *letter == text[read] || (*letter == '?' && text[read] != '/') => {
                at += 1;
                read += 1;
                continue;
            }
            _ => {}
        }
        match retry {
            Some((star, taken)) if text[taken] != '/' => {
                retry = Some((star, taken + 1));
                at = star + 1;
                read = taken + 1;
            }
            _ => return false,
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str]) -> ImageSummary {
        ImageSummary {
            id: "sha256:00".to_owned(),
            tags: tags.iter().map(|tag| Reference::parse(tag).unwrap()).collect(),
            digests: Vec::new(),
            created: None,
            size: 0,
            labels: [("app".to_owned(), "web".to_owned())].into(),
            containers: 0,
        }
    }

    fn names(filters: &[&str]) -> Option<Vec<String>> {
        let mut image = image(&["alpine:3", "localhost:5000/team/alpine:edge"]);
        let fits = ImageFilters::parse(filters).unwrap().apply(&mut image);
        fits.then(|| image.tags.iter().map(Reference::familiar).collect())
    }

    #[test]
    fn names_are_chosen_by_patterns() {
        let both = Some(vec!["alpine:3".to_owned(), "localhost:5000/team/alpine:edge".to_owned()]);
        let first = Some(vec!["alpine:3".to_owned()]);
        assert_eq!(names(&[]), both);
        for pattern in ["alpine", "alpine:3", "al*", "a?pine", "*:3", "*"] {
            assert_eq!(names(&[&format!("reference={pattern}")]), first, "{pattern}");
        }
        assert_eq!(names(&["reference=alpine", "reference=*/*/*"]), both);
        for pattern in ["", "alpin", "alpine:", "*/*", "alpine:3?", "?"] {
            assert_eq!(names(&[&format!("reference={pattern}")]), None, "{pattern}");
        }
    }

    #[test]
    fn keys_are_conditions() {
        assert!(names(&["label=app", "label=app=web", "dangling=false"]).is_some());
        for filter in ["label=app=x", "label=none", "dangling=true"] {
            assert_eq!(names(&[filter]), None, "{filter}");
        }
        for filter in ["x", "colour=red", "dangling=maybe"] {
            assert!(ImageFilters::parse(&[filter]).is_err(), "{filter}");
        }
    }
}
