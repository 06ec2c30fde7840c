//! Getting the image of a container: from the store, or by a pull as `--pull` says it.

use crate::output;
use crate::progress::{Bars, Direction, Teller};
use clap::{Args, ValueEnum};
use hull_engine::{Engine, EngineError, Image, Platform, Reference, is_built_in};

/// When the image is pulled before a container is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// If it is not there.
    Missing,
    /// Not at all.
    Never,
}

/// Where an image comes from.
#[derive(Debug, Clone, Args)]
pub struct ImageFlags {
    /// Pull the image before: always, if it is missing, or never
    #[arg(long, value_name = "WHEN", value_enum, default_value = "missing", hide_possible_values = true)]
    pub pull: PullPolicy,
    /// Platform of the image, such as linux/amd64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
}

impl ImageFlags {
    /// Finds the image, pulling it where that is asked for. What is told of it goes to standard error, and nothing is told
    /// if `quiet`.
    pub fn find<'e>(&self, engine: &'e Engine, name: &str, quiet: bool) -> Result<Image<'e>, EngineError> {
        let teller = if quiet { Teller::Nobody } else { Teller::Error };
        if self.pull == PullPolicy::Always && !is_built_in(name) {
            self.pull(engine, name, teller)?;
        }
        let image = match engine.image(name, self.platform.as_ref()) {
            Err(EngineError::NoSuchImage(missing)) if self.pull == PullPolicy::Missing && can_be_pulled(name) => {
                tell(teller, &format!("Unable to find image '{missing}' locally"));
                self.pull(engine, name, teller)?;
                engine.image(name, self.platform.as_ref())?
            }
            other => other?,
        };
        if !quiet {
            image.notes.iter().for_each(|note| output::say(note));
        }
        Ok(image)
    }

    fn pull(&self, engine: &Engine, name: &str, teller: Teller) -> Result<(), EngineError> {
        let reference = Reference::parse(name)?;
        let platform = self.platform.clone().unwrap_or_else(Platform::of_guest);
        tell(teller, &pulling_from(&reference));
        let pulled = engine.pull(&reference, &platform, &Bars::new(Direction::In, teller == Teller::Nobody))?;
        tell(teller, &format!("Digest: {}", pulled.digest));
        tell(teller, &format!("Status: {}", status(&reference, pulled.newer)));
        Ok(())
    }
}

/// Standard error cannot fail in a way that matters.
fn tell(teller: Teller, line: &str) {
    drop(teller.tell(line));
}

/// An image's id names nothing at a registry.
fn can_be_pulled(name: &str) -> bool {
    !name.starts_with("sha256:") && Reference::parse(name).is_ok()
}

/// As Docker says it: what of which repository.
pub fn pulling_from(reference: &Reference) -> String {
    format!("{}: Pulling from {}", reference.target(), repository(reference))
}

/// The repository's path, with its registry unless that is the default.
fn repository(reference: &Reference) -> String {
    let registry = reference.registry();
    let default = registry == hull_engine::images::default_registry();
    if default { reference.repository().to_owned() } else { reference.name() }
}

/// Whether a pull brought something.
pub fn status(reference: &Reference, newer: bool) -> String {
    let what = if newer { "Downloaded newer image for" } else { "Image is up to date for" };
    format!("{what} {}", reference.familiar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_are_told_as_docker_tells_them() {
        let told = |name| {
            let reference = Reference::parse(name).unwrap();
            (pulling_from(&reference), status(&reference, true))
        };
        let (from, status) = told("alpine");
        assert_eq!(from, "latest: Pulling from library/alpine");
        assert_eq!(status, "Downloaded newer image for alpine:latest");
        assert_eq!(told("localhost:5000/a/b:c").0, "c: Pulling from localhost:5000/a/b");
    }

    #[test]
    fn an_id_is_not_pulled() {
        assert!(can_be_pulled("alpine") && !can_be_pulled("a.b/c@sha256:"));
        assert!(!can_be_pulled("sha256:0123") && !can_be_pulled("A B") && !can_be_pulled(&"a".repeat(64)));
    }
}
