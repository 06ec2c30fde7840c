//! Rendering a template.
//!
//! Functions: `json`, `upper`, `lower`, `title`, `len`, `index`, `join`, `split`, `print`, `println`, `eq`, `ne`, `not`,
//! `and`, `or`.

use super::TemplateError;
use super::parse::{Node, Operand, Pipe};
use serde_json::Value;

pub fn render(nodes: &[Node], dot: &Value, out: &mut String) -> Result<(), TemplateError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipe) => out.push_str(&display(&evaluate(pipe, dot)?)),
            Node::If { condition, then, otherwise } => {
                let branch = if is_true(&evaluate(condition, dot)?) { then } else { otherwise };
                render(branch, dot, out)?;
            }
            Node::Range { over, body, otherwise } => {
                let elements = elements(evaluate(over, dot)?)?;
                if elements.is_empty() {
                    render(otherwise, dot, out)?;
                }
                elements.iter().try_for_each(|element| render(body, element, out))?;
            }
        }
    }
    Ok(())
}

fn elements(value: Value) -> Result<Vec<Value>, TemplateError> {
    match value {
        Value::Array(elements) => Ok(elements),
        Value::Object(members) => Ok(members.into_iter().map(|(_, value)| value).collect()),
        Value::Null => Ok(Vec::new()),
        other => Err(TemplateError::new(format!("range cannot go over {}", display(&other)))),
    }
}

fn evaluate(pipe: &Pipe, dot: &Value) -> Result<Value, TemplateError> {
    let mut piped = None;
    for call in pipe {
        piped = Some(evaluate_call(call, piped, dot)?);
    }
    Ok(piped.unwrap_or(Value::Null))
}

fn evaluate_call(call: &[Operand], piped: Option<Value>, dot: &Value) -> Result<Value, TemplateError> {
    let (first, rest) = call.split_first().ok_or_else(|| TemplateError::new("missing value"))?;
    let mut arguments = rest.iter().map(|operand| operand_value(operand, dot)).collect::<Result<Vec<_>, _>>()?;
    arguments.extend(piped);
    match first {
        Operand::Function(name) => apply(name, &arguments),
        first => {
            let value = operand_value(first, dot)?;
            // `.Label "key"`: in Docker a method, here a member that is looked into.
            arguments.iter().try_fold(value, |value, key| index(&value, key))
        }
    }
}

fn operand_value(operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
    match operand {
        Operand::Field(path) => field(path, dot),
        Operand::Text(text) => Ok(Value::String(text.clone())),
        Operand::Number(number) => Ok((*number).into()),
        Operand::Function(name) => apply(name, &[]),
        Operand::Group(pipe) => evaluate(pipe, dot),
    }
}

fn field(path: &[String], dot: &Value) -> Result<Value, TemplateError> {
    let mut value = dot;
    for name in path {
        let found = value.as_object().and_then(|members| members.get(name));
        value = found
            .ok_or_else(|| TemplateError::new(format!("there is no field {name:?} in {{{{.{}}}}}", path.join("."))))?;
    }
    Ok(value.clone())
}

fn apply(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let text = |value: &Value| display(value);
    Ok(match (name, arguments) {
        ("json", [value]) => Value::String(value.to_string()),
        ("upper", [value]) => text(value).to_uppercase().into(),
        ("lower", [value]) => text(value).to_lowercase().into(),
        ("title", [value]) => title(&text(value)).into(),
        ("len", [value]) => length(value).into(),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), |value, key| index(&value, key))?,
        ("join", [Value::Array(values), separator]) => {
            values.iter().map(text).collect::<Vec<_>>().join(&text(separator)).into()
        }
        ("split", [value, separator]) => {
            text(value).split(&text(separator)).map(|part| Value::String(part.to_owned())).collect::<Vec<_>>().into()
        }
        ("print", values) => values.iter().map(text).collect::<String>().into(),
        ("println", values) => (values.iter().map(text).collect::<Vec<_>>().join(" ") + "\n").into(),
        ("eq", [one, others @ ..]) if !others.is_empty() => others.contains(one).into(),
        ("ne", [one, other]) => (one != other).into(),
        ("not", [value]) => (!is_true(value)).into(),
        ("and", [.., last]) => arguments.iter().find(|value| !is_true(value)).unwrap_or(last).clone(),
        ("or", [.., last]) => arguments.iter().find(|value| is_true(value)).unwrap_or(last).clone(),
        (
            "json" | "upper" | "lower" | "title" | "len" | "index" | "join" | "split" | "eq" | "ne" | "not" | "and"
            | "or",
            _,
        ) => {
            return Err(TemplateError::new(format!("function {name:?} got what it cannot work with")));
        }
        _ => return Err(TemplateError::new(format!("function {name:?} is not known"))),
    })
}

fn title(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn length(value: &Value) -> usize {
    match value {
        Value::Array(elements) => elements.len(),
        Value::Object(members) => members.len(),
        Value::String(text) => text.len(),
        _ => 0,
    }
}

/// An element of an array, or a member of an object; as in Go a member that is not there is empty, an element an error.
fn index(value: &Value, key: &Value) -> Result<Value, TemplateError> {
    match (value, key) {
        (Value::Object(members), Value::String(key)) => Ok(members.get(key).cloned().unwrap_or_else(|| "".into())),
        (Value::Array(elements), Value::Number(at)) => {
            let element = at.as_u64().and_then(|at| usize::try_from(at).ok()).and_then(|at| elements.get(at));
            element.cloned().ok_or_else(|| TemplateError::new(format!("index {at} is out of range")))
        }
        (Value::Null, _) => Ok("".into()),
        _ => Err(TemplateError::new(format!("cannot look {} up in {}", display(key), display(value)))),
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        other => length(other) > 0,
    }
}

/// A value as Go prints it.
fn display(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(elements) => format!("[{}]", elements.iter().map(display).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| format!("{key}:{}", display(value)));
            format!("map[{}]", members.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}
