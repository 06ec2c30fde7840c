//! Lists: a table by default, or what `--format` asks for.

use crate::template::{Template, TemplateError};
use serde_json::{Map, Value};

/// Spaces between columns, and the least width of one, as Docker's.
const PADDING: usize = 3;
const LEAST_WIDTH: usize = 10;

/// One row: the names and values of its fields.
pub type Row = Map<String, Value>;

/// How a list is printed.
#[derive(Debug)]
pub enum Format {
    /// One JSON object a line, of the fields that were named.
    Json,
    /// Columns under a header.
    Table(Template),
    /// The template for each row.
    Plain(Template),
}

impl Format {
    /// Reads `--format`; `table` alone, and nothing, mean the default columns.
    pub fn parse(format: Option<&str>, default_columns: &str) -> Result<Self, TemplateError> {
        match format.map(str::trim) {
            None | Some("" | "table") => Template::parse(default_columns).map(Self::Table),
            Some("json") => Ok(Self::Json),
            Some(format) => match format.strip_prefix("table ") {
                Some(columns) => Template::parse(columns.trim_start()).map(Self::Table),
                None => Template::parse(format).map(Self::Plain),
            },
        }
    }

    /// The text of a list. `headers` has the title of each field; `json_fields` are those that Docker's JSON has.
    pub fn render(
        &self,
        rows: &[Row],
        headers: &[(&str, &str)],
        json_fields: &[&str],
    ) -> Result<String, TemplateError> {
        match self {
            Self::Json => Ok(rows.iter().map(|row| json_line(row, json_fields)).collect()),
            Self::Plain(template) => {
                rows.iter().map(|row| Ok(template.render(&Value::Object(row.clone()))? + "\n")).collect()
            }
            Self::Table(template) => {
                let titles = headers.iter().map(|(field, title)| ((*field).to_owned(), Value::from(*title))).collect();
                let lines =
                    std::iter::once(&titles).chain(rows).map(|row| template.render(&Value::Object(row.clone())));
                Ok(align(&lines.collect::<Result<Vec<_>, _>>()?))
            }
        }
    }
}

fn json_line(row: &Row, fields: &[&str]) -> String {
    let chosen: Row = fields.iter().filter_map(|field| Some(((*field).to_owned(), row.get(*field)?.clone()))).collect();
    Value::Object(chosen).to_string() + "\n"
}

/// Tabs become columns; the last cell of a line is not padded.
pub fn align(lines: &[String]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        let cells: Vec<_> = line.split('\t').collect();
        for (column, cell) in cells.iter().enumerate().take(cells.len() - 1) {
            let width = (cell.chars().count() + PADDING).max(LEAST_WIDTH);
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut cells = line.split('\t').enumerate().peekable();
        while let Some((column, cell)) = cells.next() {
            match cells.peek() {
                Some(_) => text.push_str(&format!("{cell:width$}", width = widths[column])),
                None => text.push_str(cell),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: [(&str, &str); 2] = [("ID", "CONTAINER ID"), ("Names", "NAMES")];

    fn rows() -> Vec<Row> {
        let row =
            |id: &str, name: &str| Row::from_iter([("ID".to_owned(), id.into()), ("Names".to_owned(), name.into())]);
        vec![row("0123456789ab", "web"), row("ba", "data\u{e9}base")]
    }

    fn render(format: Option<&str>) -> String {
        Format::parse(format, "{{.ID}}\t{{.Names}}").unwrap().render(&rows(), &HEADERS, &["ID", "Names"]).unwrap()
    }

    #[test]
    fn tables_have_a_header_and_aligned_columns() {
        let table = "CONTAINER ID   NAMES\n0123456789ab   web\nba             data\u{e9}base\n";
        assert_eq!(render(None), table);
        assert_eq!(render(Some("table")), table);
        assert_eq!(
            render(Some(r"table {{.Names}}\t{{.ID}}")),
            "NAMES       CONTAINER ID\nweb         0123456789ab\ndata\u{e9}base   ba\n"
        );
    }

    #[test]
    fn other_formats_have_no_header() {
        assert_eq!(render(Some("{{.Names}}")), "web\ndata\u{e9}base\n");
        assert_eq!(render(Some("json")).lines().next(), Some(r#"{"ID":"0123456789ab","Names":"web"}"#));
        assert!(Format::parse(Some("{{"), "").is_err());
    }
}
