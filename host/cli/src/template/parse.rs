//! Reading a template.

use super::TemplateError;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// As it stands.
    Text(String),
    /// The value of a pipe.
    Print(Pipe),
    /// One of two, by whether the pipe's value is empty.
    If { condition: Pipe, then: Vec<Node>, otherwise: Vec<Node> },
    /// Once for each element, or the second if there is none.
    Range { over: Pipe, body: Vec<Node>, otherwise: Vec<Node> },
}

/// Calls, each of which gets the value of the one before as its last argument.
pub type Pipe = Vec<Vec<Operand>>;

/// A word in a call; the first of a call may be a function.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// `.A.B`; without names the value itself.
    Field(Vec<String>),
    /// `"text"`.
    Text(String),
    /// `0`.
    Number(i64),
    /// `json`.
    Function(String),
    /// `(...)`.
    Group(Pipe),
}

/// How deep `if`, `range` and parentheses may lie in each other: whatever a person writes, and no stack overflow.
const MAX_DEPTH: u32 = 32;

pub fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = split(text)?.into_iter();
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        None => Ok(nodes),
        Some(keyword) => Err(TemplateError::new(format!("unexpected {{{{{keyword}}}}}"))),
    }
}

enum Piece {
    Text(String),
    Action(String),
}

/// Text and actions in turn, with the white space gone that `{{-` and `-}}` ask to be trimmed.
fn split(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let (mut rest, mut trim) = (text, false);
    while let Some((before, after)) = rest.split_once("{{") {
        let end = action_end(after).ok_or_else(|| TemplateError::new("unclosed action: {{ without }}"))?;
        let action = &after[..end];
        let left = action.strip_prefix('-').filter(|inner| inner.starts_with(char::is_whitespace));
        let before = if trim { before.trim_start() } else { before };
        let before = if left.is_some() { before.trim_end() } else { before };
        let action = left.unwrap_or(action);
        let right = action.strip_suffix('-').filter(|inner| inner.ends_with(char::is_whitespace));
        trim = right.is_some();
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Action(right.unwrap_or(action).trim().to_owned()));
        rest = &after[end + 2..];
    }
    pieces.push(Piece::Text(if trim { rest.trim_start() } else { rest }.to_owned()));
    Ok(pieces)
}

/// Where the `}}` is that closes an action; one in a string closes nothing.
fn action_end(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted && text[at..].starts_with("}}") => return Some(at),
            _ => {}
        }
    }
    None
}

type Pieces = std::vec::IntoIter<Piece>;

/// Nodes up to `end` or `else`, which is returned, or to the end of the template.
fn block(pieces: &mut Pieces, depth: u32) -> Result<(Vec<Node>, Option<String>), TemplateError> {
    if depth > MAX_DEPTH {
        return Err(TemplateError::new("too many blocks inside each other"));
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let action = match piece {
            Piece::Text(text) => {
                if !text.is_empty() {
                    nodes.push(Node::Text(text));
                }
                continue;
            }
            Piece::Action(action) => action,
        };
        let (keyword, rest) = action.split_once(char::is_whitespace).unwrap_or((&action, ""));
        match keyword {
            "end" | "else" => return Ok((nodes, Some(action))),
            "if" => {
                let (then, otherwise) = branches(pieces, depth)?;
                nodes.push(Node::If { condition: pipe(rest)?, then, otherwise });
            }
            "range" => {
                let (body, otherwise) = branches(pieces, depth)?;
                nodes.push(Node::Range { over: pipe(rest)?, body, otherwise });
            }
            _ if action.starts_with("/*") => {}
            _ => nodes.push(Node::Print(pipe(&action)?)),
        }
    }
    Ok((nodes, None))
}

fn branches(pieces: &mut Pieces, depth: u32) -> Result<(Vec<Node>, Vec<Node>), TemplateError> {
    let missing = || TemplateError::new("{{if}} or {{range}} without {{end}}");
    let (first, end) = block(pieces, depth + 1)?;
    match end.as_deref() {
        Some("end") => Ok((first, Vec::new())),
        Some("else") => match block(pieces, depth + 1)? {
            (second, Some(end)) if end == "end" => Ok((first, second)),
            _ => Err(missing()),
        },
        Some(other) => Err(TemplateError::new(format!("{{{{{other}}}}} is not understood"))),
        None => Err(missing()),
    }
}

fn pipe(text: &str) -> Result<Pipe, TemplateError> {
    let mut words = Words { rest: text.trim(), whole: text };
    let pipe = words.pipe(0)?;
    if words.rest.is_empty() { Ok(pipe) } else { Err(words.error("unexpected )")) }
}

struct Words<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl Words<'_> {
    fn error(&self, why: &str) -> TemplateError {
        TemplateError::new(format!("{why} in {{{{{}}}}}", self.whole))
    }

    /// Calls up to a closing parenthesis or the end.
    fn pipe(&mut self, depth: u32) -> Result<Pipe, TemplateError> {
        if depth > MAX_DEPTH {
            return Err(self.error("too many parentheses"));
        }
        let (mut calls, mut call) = (Vec::new(), Vec::new());
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.bytes().next() {
                None | Some(b')') => {
                    calls.push(call);
                    break;
                }
                Some(b'|') => {
                    self.rest = &self.rest[1..];
                    calls.push(std::mem::take(&mut call));
                }
                Some(_) => call.push(self.operand(depth)?),
            }
        }
        if calls.iter().any(Vec::is_empty) { Err(self.error("missing value")) } else { Ok(calls) }
    }

    fn operand(&mut self, depth: u32) -> Result<Operand, TemplateError> {
        if let Some(rest) = self.rest.strip_prefix('(') {
            self.rest = rest;
            let pipe = self.pipe(depth + 1)?;
            self.rest = self.rest.strip_prefix(')').ok_or_else(|| self.error("unclosed ("))?;
            return Ok(Operand::Group(pipe));
        }
        if self.rest.starts_with('"') {
            return self.text();
        }
        let end = self.rest.find(|c: char| c.is_whitespace() || "|()".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if let Ok(number) = word.parse() {
            return Ok(Operand::Number(number));
        }
        let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        match word.strip_prefix('.') {
            Some("") => Ok(Operand::Field(Vec::new())),
            Some(path) if path.split('.').all(is_name) => {
                Ok(Operand::Field(path.split('.').map(str::to_owned).collect()))
            }
            None if is_name(word) => Ok(Operand::Function(word.to_owned())),
            _ => Err(self.error(&format!("unexpected {word:?}"))),
        }
    }

    /// A string in quotes, with Go's escapes as JSON has them too.
    fn text(&mut self) -> Result<Operand, TemplateError> {
        let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        match stream.next() {
            Some(Ok(text)) => {
                self.rest = &self.rest[stream.byte_offset()..];
                Ok(Operand::Text(text))
            }
            _ => Err(self.error("malformed string")),
        }
    }
}
