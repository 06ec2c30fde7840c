//! A registry in this process that answers as a test tells it to, faults included: plain HTTP on loopback, one thread
//! for each connection.

#![allow(dead_code, reason = "each suite that includes this uses another part of it")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in helpers too")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// What it is answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The length that is announced, if it is not the body's.
    pub announced: Option<u64>,
    /// No length is announced; the end of the connection is the end of the body.
    pub unannounced: bool,
    /// The connection is cut after so many bytes of the body.
    pub cut: Option<usize>,
    /// The connection is cut before anything is said.
    pub silent: bool,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

type Handler = dyn Fn(&Asked) -> Answer + Send + Sync;

/// The registry. Its threads end with the process; its port is its own.
pub struct Fake {
    pub authority: String,
    log: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
}

impl Fake {
    pub fn start(handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (handler, kept): (Arc<Handler>, _) = (Arc::new(handler), log.clone());
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counter.fetch_add(1, Ordering::Relaxed);
                let (handler, log) = (handler.clone(), log.clone());
                // A client that goes away in the middle is what many tests are about.
                thread::spawn(move || drop(serve(&stream, &*handler, &log)));
            }
        });
        Self { authority, log: kept, connections }
    }

    /// How many connections were made, those that were refused because they began with TLS included.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }

    /// How many requests start with `line`, as in `GET /v2/`.
    pub fn count(&self, line: &str) -> usize {
        self.asked().iter().filter(|asked| asked.line().starts_with(line)).count()
    }
}

fn serve(stream: &TcpStream, handler: &Handler, log: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    let mut first = [0];
    // TLS is not spoken here.
    if stream.peek(&mut first)? == 0 || first[0] == 0x16 {
        return Ok(());
    }
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read_request(&mut reader)? {
        let answer = handler(&asked);
        log.lock().unwrap().push(asked.clone());
        if answer.silent || !write_answer(stream, &asked, &answer)? {
            break;
        }
    }
    Ok(())
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Asked { method, target, headers, body }))
}

/// Writes an answer; false if the connection ends with it.
fn write_answer(mut stream: &TcpStream, asked: &Asked, answer: &Answer) -> std::io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if answer.unannounced {
        head.push_str("Connection: close\r\n");
    } else {
        let length = answer.announced.unwrap_or(answer.body.len() as u64);
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    if asked.method != "HEAD" {
        stream.write_all(&answer.body[..answer.cut.unwrap_or(answer.body.len())])?;
    }
    Ok(answer.cut.is_none() && answer.announced.is_none() && !answer.unannounced)
}

/// Answers a request for a blob, ranges included.
pub fn blob(asked: &Asked, bytes: &[u8]) -> Answer {
    let range = asked.header("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
    match range.and_then(|start| start.parse::<usize>().ok()) {
        Some(start) => Answer::new(206, &bytes[start..])
            .header("Content-Range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len())),
        None => Answer::new(200, bytes),
    }
}
