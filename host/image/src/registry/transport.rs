//! One request, one answer: connections, redirects, proxies and TLS, without any knowledge of registries.

use super::endpoint::{authority, resolve};
use super::error::RegistryError;
use super::proxy::Proxies;
use super::settings::Settings;
use super::tls::{self, SystemRoots};
use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use ureq::http::header::{AUTHORIZATION, HeaderName, LOCATION};
use ureq::http::{self, HeaderValue, Method, Request, Response, Uri};
use ureq::{Agent, Body, SendBody};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;
/// Idle connections that are kept for each server: one for each layer and for each token.
const MAX_IDLE: usize = 8;
/// Read at once: large enough that a fast link is not bound by system calls.
const INPUT_BUFFER: usize = 256 * 1024;

/// What a request carries.
pub(super) enum Payload<'a> {
    /// Nothing.
    None,
    /// Bytes, which can be sent again.
    Bytes(&'a [u8]),
    /// So many bytes of a stream, which can be sent once.
    Stream(&'a mut dyn Read, u64),
}

/// A request.
pub(super) struct Call<'a> {
    pub method: Method,
    pub url: Uri,
    pub headers: Vec<(HeaderName, String)>,
    pub payload: Payload<'a>,
}

impl Call<'_> {
    pub fn new(method: Method, url: Uri) -> Self {
        Self { method, url, headers: Vec::new(), payload: Payload::None }
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Connections to all servers, kept open between requests.
#[derive(Debug)]
pub(super) struct Transport {
    pub settings: Settings,
    proxies: Proxies,
    roots: SystemRoots,
    /// By scheme and authority, because proxy and certificates depend on them.
    agents: Mutex<HashMap<String, Agent>>,
}

impl Transport {
    pub fn new(settings: Settings) -> Self {
        let proxies = Proxies::from_environment();
        Self { settings, proxies, roots: SystemRoots::default(), agents: Mutex::default() }
    }

    /// Sends a request and returns whatever is answered. Redirects of requests that only read are followed;
    /// credentials go to the first server alone, and a secured conversation never becomes an open one.
    pub fn send(&self, call: &mut Call<'_>) -> Result<Response<Body>, RegistryError> {
        let reads = matches!(call.method, Method::GET | Method::HEAD);
        let mut url = call.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.exchange(call, &url)?;
            let moved = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = answer.headers().get(LOCATION).filter(|_| moved && reads) else {
                return Ok(answer);
            };
            let location = location.to_str().map_err(|_| protocol(&url, "it is redirected to no address"))?;
            let target = resolve(&url, location)?;
            if target.scheme_str() == Some("http") {
                if url.scheme_str() == Some("https") {
                    return Err(RegistryError::Plain { url: target.to_string() });
                }
                self.settings.check_plain(authority(&target), &target.to_string())?;
            }
            url = target;
        }
        Err(protocol(&call.url, "it is redirected too often"))
    }

    fn exchange(&self, call: &mut Call<'_>, url: &Uri) -> Result<Response<Body>, RegistryError> {
        let agent = self.agent(url)?;
        let same_server = authority(url) == authority(&call.url) && url.scheme() == call.url.scheme();
        let mut request = Request::builder().method(call.method.clone()).uri(url.clone());
        for (name, value) in &call.headers {
            if same_server || *name != AUTHORIZATION {
                let value = HeaderValue::from_str(value).map_err(|_| protocol(url, "a header cannot be written"))?;
                request = request.header(name, value);
            }
        }
        let result = match &mut call.payload {
            Payload::None => agent.run(build(request, url, ())?),
            Payload::Bytes(bytes) => agent.run(build(request, url, *bytes)?),
            Payload::Stream(reader, length) => {
                let request = request.header(http::header::CONTENT_LENGTH, *length);
                agent.run(build(request, url, SendBody::from_reader(reader))?)
            }
        };
        result.map_err(|error| self.explain(url, error))
    }

    fn explain(&self, url: &Uri, error: ureq::Error) -> RegistryError {
        let authority = authority(url);
        let complaint = match &error {
            ureq::Error::Io(error) => tls::complaint(error),
            ureq::Error::Rustls(error) => Some(error),
            _ => None,
        };
        if let Some(rustls::Error::InvalidCertificate(reason)) = complaint {
            let directory = tls::directory_for(authority, &self.settings);
            return RegistryError::Untrusted { authority: authority.to_owned(), directory, reason: reason.to_string() };
        }
        RegistryError::Transport { url: without_query(url), source: Box::new(error) }
    }

    fn agent(&self, url: &Uri) -> Result<Agent, RegistryError> {
        let (scheme, authority) = (url.scheme_str().unwrap_or("https"), authority(url));
        let key = format!("{scheme}://{authority}");
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("hull/", env!("CARGO_PKG_VERSION")))
            .proxy(self.proxies.choose(scheme, url.host().unwrap_or_default(), port)?)
            .timeout_connect(Some(self.settings.connect_timeout))
            .timeout_per_read(Some(self.settings.idle_timeout))
            .timeout_per_write(Some(self.settings.idle_timeout))
            .input_buffer_size(INPUT_BUFFER)
            .max_idle_connections_per_host(MAX_IDLE)
            .max_idle_connections(MAX_IDLE);
        if scheme == "https" {
            config = config.tls_config(tls::config(authority, &self.settings, &self.roots)?);
        }
        let agent = config.build().new_agent();
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

fn build<B: ureq::AsSendBody>(
    request: http::request::Builder,
    url: &Uri,
    body: B,
) -> Result<Request<B>, RegistryError> {
    request.body(body).map_err(|error| protocol(url, &error.to_string()))
}

fn protocol(url: &Uri, reason: &str) -> RegistryError {
    RegistryError::Protocol { what: without_query(url), reason: reason.to_owned() }
}

/// An address for a message: the query of a storage server's address is long, and may hold a signature.
pub(super) fn without_query(url: &Uri) -> String {
    url.to_string().split('?').next().unwrap_or_default().to_owned()
}

/// Reads a whole body of at most `limit` bytes.
pub(super) fn read_body(what: &str, answer: Response<Body>, limit: u64) -> Result<Vec<u8>, RegistryError> {
    let too_large = || RegistryError::TooLarge { what: what.to_owned(), limit };
    if answer.body().content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut reader = answer.into_body().into_reader().take(limit.saturating_add(1));
    reader.read_to_end(&mut bytes).map_err(|source| RegistryError::Body { url: what.to_owned(), source })?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) { Ok(bytes) } else { Err(too_large()) }
}
