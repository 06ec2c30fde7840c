//! A conversation with one repository of one server: finds out how the server is spoken to, and sends requests with
//! whatever they need to be let in, again where that helps.

use super::auth::{Authorizer, said};
use super::challenge;
use super::endpoint::{Endpoint, authority};
use super::error::{RegistryError, is_transient_status};
use super::retry::{Failure, asked_wait, with_retries};
use super::transport::{Call, Payload, Transport};
use crate::credentials::Credential;
use std::sync::Arc;
use ureq::Body;
use ureq::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use ureq::http::{Method, Response, Uri};

/// A server that answers.
#[derive(Debug)]
pub(super) struct Server {
    /// Scheme, authority and prefix, as the start of every address; `…/v2/`.
    base: Uri,
    /// Under which name its credentials are kept.
    pub account: String,
    authorizer: Authorizer,
}

impl Server {
    /// Makes contact: over TLS, or over plain HTTP where that is allowed and TLS is not spoken.
    pub fn connect(
        transport: &Transport,
        endpoint: &Endpoint,
        credential: Option<Credential>,
    ) -> Result<Self, RegistryError> {
        let schemes: &[&str] = match endpoint.scheme {
            Some("http") => &["http"],
            None if transport.settings.allows_plain(&endpoint.authority) => &["https", "http"],
            _ => &["https"],
        };
        for (index, scheme) in schemes.iter().enumerate() {
            let base = format!("{scheme}://{}{}/v2/", endpoint.authority, endpoint.prefix);
            let base = base.parse::<Uri>().map_err(|_| RegistryError::Protocol {
                what: endpoint.authority.clone(),
                reason: "this is no address".to_owned(),
            })?;
            let is_last = index + 1 == schemes.len();
            match Self::greet(transport, &base, is_last) {
                Ok(challenge) => {
                    let authorizer = Authorizer::new(challenge, credential);
                    return Ok(Self { base, account: endpoint.account.clone(), authorizer });
                }
                Err(RegistryError::Transport { .. }) if !is_last => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("there is a last scheme, and it has returned")
    }

    /// Asks for nothing, to see what is demanded. Unless `patient`, whatever breaks is not tried again, and never who is
    /// not there at all.
    fn greet(transport: &Transport, base: &Uri, patient: bool) -> Result<Option<challenge::Challenge>, RegistryError> {
        let what = authority(base).to_owned();
        let answer = with_retries(&transport.settings, || {
            let answer = match transport.send(&mut Call::new(Method::GET, base.clone())) {
                Err(error) if error.is_absent() || !patient => return Ok(Err(error)),
                answer => answer?,
            };
            if matches!(answer.status().as_u16(), 401 | 404) {
                return Ok(Ok(answer));
            }
            sort_out(&what, &what, answer).map(Ok)
        })??;
        let (status, challenge) = (answer.status().as_u16(), demand(&answer));
        // Read to its end, so that the connection serves the next request too.
        said(answer);
        match challenge {
            _ if status != 401 => Ok(None),
            Some(challenge) => Ok(Some(challenge)),
            None => {
                Err(RegistryError::Protocol { what, reason: "it wants to know who we are, but not how".to_owned() })
            }
        }
    }
}

fn demand(answer: &Response<Body>) -> Option<challenge::Challenge> {
    challenge::choose(answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()))
}

/// A repository on a server, for reading or writing.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub transport: Arc<Transport>,
    pub server: Arc<Server>,
    /// The repository's path.
    pub repository: String,
    /// What tokens are asked for.
    pub scope: String,
}

impl Session {
    /// The address of something in the repository, `manifests/latest` for example.
    pub fn url(&self, rest: &str) -> Result<Uri, RegistryError> {
        let text = format!("{}{}/{rest}", self.server.base, self.repository);
        text.parse()
            .map_err(|_| RegistryError::Protocol { what: text.clone(), reason: "this is no address".to_owned() })
    }

    /// Whether an address leads to this server.
    fn is_own(&self, url: &Uri) -> bool {
        authority(url) == authority(&self.server.base) && url.scheme() == self.server.base.scheme()
    }

    /// Sends a request that can be repeated, until it is answered with success or cannot be. `what` names what was
    /// asked for, in messages.
    pub fn call(&self, what: &str, call: &mut Call<'_>) -> Result<Response<Body>, RegistryError> {
        with_retries(&self.transport.settings, || self.attempt(what, call))
    }

    /// Sends a request once; twice if the server wants to know who we are.
    pub fn attempt(&self, what: &str, call: &mut Call<'_>) -> Result<Response<Body>, Failure> {
        let answer = self.authorized(call)?;
        if answer.status().as_u16() != 401 || !self.is_own(&call.url) {
            return sort_out(what, &self.server.account, answer);
        }
        self.server.authorizer.renew(demand(&answer), &self.scope);
        if matches!(call.payload, Payload::Stream(..)) {
            // The stream is spent. With a new token it may work, so that this counts as a passing failure.
            let status =
                RegistryError::Status { what: what.to_owned(), status: 408, detail: "the token ran out".to_owned() };
            return Err(status.into());
        }
        said(answer);
        let answer = self.authorized(call)?;
        sort_out(what, &self.server.account, answer)
    }

    fn authorized(&self, call: &mut Call<'_>) -> Result<Response<Body>, RegistryError> {
        call.headers.retain(|(name, _)| *name != AUTHORIZATION);
        if self.is_own(&call.url)
            && let Some(value) = self.server.authorizer.header(&self.transport, &self.server.base, &self.scope)?
        {
            call.headers.push((AUTHORIZATION, value));
        }
        self.transport.send(call)
    }

    /// Shows the credentials, as `login` does.
    pub fn check_credentials(&self) -> Result<(), RegistryError> {
        let mut call = Call::new(Method::GET, self.server.base.clone());
        match self.call(&self.server.account, &mut call) {
            Err(RegistryError::Denied { registry, detail, .. }) => {
                Err(RegistryError::Login { server: registry, detail })
            }
            other => other.map(drop),
        }
    }
}

/// Tells success from the kinds of failure.
pub(super) fn sort_out(what: &str, registry: &str, answer: Response<Body>) -> Result<Response<Body>, Failure> {
    let status = answer.status().as_u16();
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let wait = is_transient_status(status).then(|| asked_wait(answer.headers())).flatten();
    let (what, detail) = (what.to_owned(), said(answer));
    let error = match status {
        404 => RegistryError::NotFound { what, detail },
        401 | 403 => RegistryError::Denied { what, registry: registry.to_owned(), detail },
        _ => RegistryError::Status { what, status, detail },
    };
    Err(Failure { error: Box::new(error), wait })
}
