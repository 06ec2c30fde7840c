//! `--format`: the part of Go's text/template language that people use with Docker's command line.
//!
//! Fields (`{{.State.Status}}`), the functions of [`eval`], pipes, string and number literals, `if`/`else`, `range`, and
//! `{{- -}}` trimming. No variables, no definitions. Values are JSON.

mod eval;
mod parse;

use serde_json::Value;

/// A template that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

/// Why a template cannot be read or rendered; one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {0}")]
pub struct TemplateError(String);

impl TemplateError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl Template {
    /// Reads a template. `\t` and `\n`, written as two characters, mean what they mean in C.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        parse::parse(&text).map(|nodes| Self { nodes })
    }

    /// The text that the template makes of a value.
    pub fn render(&self, value: &Value) -> Result<String, TemplateError> {
        let mut text = String::new();
        eval::render(&self.nodes, value, &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
