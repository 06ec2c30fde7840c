//! `hull inspect`.

use super::documents;
use crate::failure::Failure;
use clap::Args;
use hull_engine::{Engine, EngineError};
use serde_json::Value;

/// Print everything about containers or images as JSON.
#[derive(Debug, Args)]
pub struct Inspect {
    /// `json`, or a template such as '{{.State.Status}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only `container`, or only `image`
    #[arg(long = "type", value_name = "TYPE", value_parser = ["container", "image"])]
    kind: Option<String>,
    /// Names or ids
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Inspect {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        documents::print_all(&self.names, self.format.as_deref(), |name| self.inspect(&engine, name))
    }

    /// A container goes before an image, as in Docker.
    fn inspect(&self, engine: &Engine, name: &str) -> Result<Value, EngineError> {
        let container = || Ok(value(&engine.inspect(&engine.find(name)?)?));
        let image = || Ok(value(&engine.inspect_image(name)?));
        match self.kind.as_deref() {
            Some("image") => image(),
            Some(_) => container(),
            None => match container() {
                Err(EngineError::NoSuchContainer(_)) => image().map_err(|_| no_such_object(name)),
                other => other,
            },
        }
    }
}

fn no_such_object(name: &str) -> EngineError {
    EngineError::Invalid(format!("No such object: {name}"))
}

fn value(document: &impl serde::Serialize) -> Value {
    serde_json::to_value(document).expect("a document has text for keys")
}
