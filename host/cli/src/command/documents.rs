//! Documents, one or many: as JSON, by a template, or as text for a person.

use crate::failure::Failure;
use crate::output;
use crate::template::Template;
use hull_engine::EngineError;
use serde::Serialize;

/// Prints one by `--format`: `json`, a template, or without it the text.
pub fn print(document: &impl Serialize, format: Option<&str>, text: impl FnOnce() -> String) -> Result<(), Failure> {
    let value = || serde_json::to_value(document).map_err(json_error);
    match format {
        None => output::print(&text()),
        Some("json") => output::print_line(value()?.to_string()),
        Some(format) => output::print_line(Template::parse(format)?.render(&value()?)?),
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

fn json_error(error: serde_json::Error) -> Failure {
    Failure::new(error.to_string())
}

/// Indented by four, as Docker's.
fn pretty<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8(bytes).expect("serde_json writes UTF-8"))
}
