//! `hull inspect`.

use crate::failure::Failure;
use crate::output;
use crate::template::Template;
use clap::Args;
use hull_engine::{Engine, EngineError};
use serde::Serialize;

/// Print everything about containers as JSON.
#[derive(Debug, Args)]
pub struct Inspect {
    /// `json`, or a template such as '{{.State.Status}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only `container`; for scripts that say it
    #[arg(long = "type", value_name = "TYPE", value_parser = ["container"], hide = true)]
    kind: Option<String>,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Inspect {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        print_all(&self.containers, self.format.as_deref(), |reference| {
            let container = engine.find(reference)?;
            engine.inspect(&container)
        })
    }
}

/// Prints what there is, as an array or by the template, then says what there is not; exit status 1 in that case.
pub fn print_all<T: Serialize>(
    references: &[String],
    format: Option<&str>,
    inspect: impl Fn(&str) -> Result<T, EngineError>,
) -> Result<u8, Failure> {
    let template = format.filter(|format| *format != "json").map(Template::parse).transpose()?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for reference in references {
        match inspect(reference) {
            Ok(document) => found.push(document),
            Err(error) => failures.push(Failure::from(error)),
        }
    }
    let json_error = |error: serde_json::Error| Failure::new(error.to_string());
    match template {
        Some(template) => {
            for document in &found {
                let value = serde_json::to_value(document).map_err(json_error)?;
                output::print_line(template.render(&value)?)?;
            }
        }
        None if format.is_some() => output::print_line(serde_json::to_string(&found).map_err(json_error)?)?,
        None => output::print_line(pretty(&found).map_err(json_error)?)?,
    }
    for failure in &failures {
        failure.message.iter().for_each(|line| output::say(line));
    }
    Ok(u8::from(!failures.is_empty()))
}

/// Indented by four, as Docker's.
fn pretty<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8(bytes).expect("serde_json writes UTF-8"))
}
