//! Proving who we are: the header that goes with a request, and the tokens it needs.
//!
//! Governed by the distribution project's token specification ("Docker Registry v2 authentication via central
//! service", "OAuth2"): a server demands a token for a scope, and another server gives it for the user's credentials.

use super::challenge::Challenge;
use super::endpoint::{authority, with_query};
use super::error::{RegistryError, explain};
use super::transport::{Call, Payload, Transport, read_body};
use crate::credentials::Credential;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::http::{Method, Uri};

/// Largest answer of a token server that is read.
const MAX_ANSWER: u64 = 1 << 20;
/// How long a token holds if its server does not say (the specification's figure).
const DEFAULT_LIFE: u64 = 60;
/// Taken off a token's life, so that it does not run out on its way.
const MARGIN: Duration = Duration::from_secs(5);
/// How this client is called by token servers.
const CLIENT: &str = "hull";

/// The header for one server, and its tokens by scope.
#[derive(Debug)]
pub(super) struct Authorizer {
    challenge: Mutex<Option<Challenge>>,
    credential: Option<Credential>,
    tokens: Mutex<HashMap<String, Token>>,
}

#[derive(Debug, Clone)]
struct Token {
    value: String,
    until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Authorizer {
    pub fn new(challenge: Option<Challenge>, credential: Option<Credential>) -> Self {
        Self { challenge: Mutex::new(challenge), credential, tokens: Mutex::default() }
    }

    /// A server that let us in has changed its mind: its new demand holds, and old tokens do not.
    pub fn renew(&self, challenge: Option<Challenge>, scope: &str) {
        if challenge.is_some() {
            *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = challenge;
        }
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(scope);
    }

    /// The value of the `Authorization` header for requests in `scope` (scopes with spaces between; empty to just get
    /// in), if the server wants one.
    pub fn header(&self, transport: &Transport, server: &Uri, scope: &str) -> Result<Option<String>, RegistryError> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(match &self.credential {
                Some(Credential::Password { username, password }) => Some(basic(username, password)),
                _ => None,
            }),
            Some(Challenge::Bearer { .. }) if matches!(self.credential, Some(Credential::RegistryToken(_))) => {
                let Some(Credential::RegistryToken(token)) = &self.credential else { return Ok(None) };
                Ok(Some(format!("Bearer {token}")))
            }
            Some(Challenge::Bearer { realm, service }) => {
                let known = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned();
                let token = match known.filter(|token| token.until > Instant::now()) {
                    Some(token) => token,
                    None => self.fetch(transport, server, &realm, service.as_deref(), scope)?,
                };
                Ok(Some(format!("Bearer {}", token.value)))
            }
        }
    }

    fn fetch(
        &self,
        transport: &Transport,
        server: &Uri,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<Token, RegistryError> {
        let what = format!("token from {}", realm.chars().take(200).collect::<String>());
        let realm = super::endpoint::resolve(server, realm)?;
        if realm.scheme_str() == Some("http") && server.scheme_str() != Some("http") {
            return Err(RegistryError::Plain { url: realm.to_string() });
        }
        if realm.scheme_str() == Some("http") && authority(&realm) != authority(server) {
            transport.settings.check_plain(authority(&realm), &realm.to_string())?;
        }
        let form = self.form(service, scope);
        let mut call = self.call(&realm, service, scope, form.as_deref())?;
        let answer = super::retry::with_retries(&transport.settings, || {
            let answer = transport.send(&mut call)?;
            super::session::sort_out(&what, authority(server), answer)
        });
        let answer = answer.map_err(|error| match error {
            RegistryError::Denied { registry, detail, .. } => RegistryError::Login { server: registry, detail },
            other => other,
        })?;
        let answer = serde_json::from_slice::<Answer>(&read_body(&what, answer, MAX_ANSWER)?)
            .map_err(|source| RegistryError::Malformed { what: what.clone(), source })?;
        let value = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
        let value =
            value.ok_or(RegistryError::Protocol { what, reason: "there is no token in the answer".to_owned() })?;
        let life = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE).clamp(DEFAULT_LIFE, 24 * 3600));
        let token = Token { value, until: Instant::now() + life.saturating_sub(MARGIN) };
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.to_owned(), token.clone());
        Ok(token)
    }

    /// The body that trades an identity token for an access token, if the user has an identity token.
    fn form(&self, service: Option<&str>, scope: &str) -> Option<String> {
        let Some(Credential::IdentityToken(token)) = &self.credential else { return None };
        let root = Uri::from_static("/");
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", CLIENT),
            ("service", service.unwrap_or_default()),
            ("scope", scope),
            ("refresh_token", token),
        ];
        with_query(&root, &fields).split_once('?').map(|(_, form)| form.to_owned())
    }

    fn call<'a>(
        &self,
        realm: &Uri,
        service: Option<&str>,
        scope: &str,
        form: Option<&'a str>,
    ) -> Result<Call<'a>, RegistryError> {
        if let Some(form) = form {
            let mut call =
                Call::new(Method::POST, realm.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            call.payload = Payload::Bytes(form.as_bytes());
            return Ok(call);
        }
        let mut parameters = Vec::new();
        parameters.extend(service.map(|service| ("service", service)));
        parameters.extend(scope.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope)));
        let password = match &self.credential {
            Some(Credential::Password { username, password }) => Some((username, password)),
            _ => None,
        };
        parameters.extend(password.map(|(username, _)| ("account", username.as_str())));
        parameters.push(("client_id", CLIENT));
        let url = with_query(realm, &parameters);
        let url = url.parse().map_err(|_| RegistryError::Protocol {
            what: realm.to_string(),
            reason: "tokens are to be had at no usable address".to_owned(),
        })?;
        let call = Call::new(Method::GET, url);
        Ok(match password {
            Some((username, password)) => call.header(AUTHORIZATION, basic(username, password)),
            None => call,
        })
    }
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// What a refused answer says, read from its body.
pub(super) fn said(answer: ureq::http::Response<ureq::Body>) -> String {
    explain(&read_body("an error", answer, 64 * 1024).unwrap_or_default())
}
