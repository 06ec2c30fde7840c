//! One blob as a stream that mends itself: when a transfer breaks off, it goes on where it stopped, by a range request,
//! and from another server if the first has nothing more to say.

use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::retry::{Failure, delay};
use super::transport::{Call, without_query};
use super::{Client, scope};
use oci_spec::image::Descriptor;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;
use ureq::http::header::{CONTENT_RANGE, RANGE};
use ureq::http::{Method, Response};
use ureq::{Body, BodyReader};

/// A transfer that came this far since it last broke off is a new one, as far as patience goes. With the size of the
/// blob it bounds how often a hostile server can break it.
const HEADWAY: u64 = 1 << 20;

/// Where a blob comes from, and what it should be.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub client: &'a Client,
    /// The servers to ask, best first.
    pub endpoints: &'a [Endpoint],
    pub repository: &'a str,
    pub descriptor: &'a Descriptor,
    /// Set when the blob is no longer wanted.
    pub cancelled: &'a AtomicBool,
}

/// The blob's bytes, exactly as many as its descriptor says. Whether they are the right ones is for the reader to check.
pub(super) struct BlobReader<'a> {
    source: Source<'a>,
    /// The server in use.
    current: usize,
    body: Option<BodyReader<'static>>,
    offset: u64,
    failures: u32,
    /// How far the transfer had come when it last broke off.
    reached: u64,
}

impl<'a> BlobReader<'a> {
    /// Asks for the blob; the answer has begun when this returns.
    pub fn open(source: Source<'a>) -> Result<Self, RegistryError> {
        let mut reader = Self { source, current: 0, body: None, offset: 0, failures: 0, reached: 0 };
        reader.reopen()?;
        Ok(reader)
    }

    fn reopen(&mut self) -> Result<(), RegistryError> {
        loop {
            self.check_wanted()?;
            match self.request() {
                Ok(body) => {
                    self.body = Some(body);
                    return Ok(());
                }
                Err(Failure { error, wait }) if error.is_transient() => self.broke(*error, wait)?,
                Err(Failure { error, .. }) => self.next_server(*error)?,
            }
        }
    }

    /// Counts a failure and waits; moves on to the next server, or gives up, when there were too many.
    fn broke(&mut self, error: RegistryError, wait: Option<Duration>) -> Result<(), RegistryError> {
        self.body = None;
        if self.offset.saturating_sub(self.reached) >= HEADWAY {
            self.failures = 0;
        }
        self.reached = self.offset;
        self.failures += 1;
        let settings = self.source.client.settings();
        if self.failures >= settings.tries {
            return self.next_server(RegistryError::GaveUp { tries: settings.tries, source: Box::new(error) });
        }
        log::debug!("{}: {error}; going on at byte {}", self.what(), self.offset);
        sleep(wait.unwrap_or_default().min(settings.longest_wait).max(delay(settings, self.failures)));
        Ok(())
    }

    fn next_server(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        if self.current + 1 >= self.source.endpoints.len() {
            return Err(error);
        }
        log::warn!("{}: {error}; asking the next server", self.what());
        self.current += 1;
        self.failures = 0;
        Ok(())
    }

    /// Asks the current server, once, for what is still missing.
    fn request(&mut self) -> Result<BodyReader<'static>, Failure> {
        let Source { client, endpoints, repository, descriptor, .. } = self.source;
        let session = client.session(&endpoints[self.current], repository, scope(repository, "pull"))?;
        let mut call = Call::new(Method::GET, session.url(&format!("blobs/{}", descriptor.digest()))?);
        if self.offset > 0 {
            call = call.header(RANGE, format!("bytes={}-", self.offset));
        }
        let what = self.what();
        let answer = session.attempt(&what, &mut call)?;
        let url = without_query(&call.url);
        let skip = self.check_extent(&answer)?;
        let mut body = answer.into_body().into_reader();
        if skip > 0 {
            // The server does not know ranges.
            let skipped = io::copy(&mut body.by_ref().take(skip), &mut io::sink());
            if !matches!(skipped, Ok(count) if count == skip) {
                let source = skipped.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                return Err(RegistryError::Body { url, source }.into());
            }
        }
        Ok(body)
    }

    /// Checks which part of the blob is coming, and says how much of it is known already.
    fn check_extent(&self, answer: &Response<Body>) -> Result<u64, RegistryError> {
        let size = self.source.descriptor.size();
        let (start, length) = match answer.status().as_u16() {
            206 => (self.offset, size.saturating_sub(self.offset)),
            _ => (0, size),
        };
        if start > 0 {
            let range = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if !range.starts_with(&format!("bytes {start}-")) {
                let reason = format!("asked for what follows byte {start}, the registry sends {range:?}");
                return Err(RegistryError::Protocol { what: self.what(), reason });
            }
        }
        match answer.body().content_length() {
            Some(found) if found != length => Err(RegistryError::Length { what: self.what(), expected: length, found }),
            _ => Ok(self.offset - start),
        }
    }

    fn check_wanted(&self) -> Result<(), RegistryError> {
        if self.source.cancelled.load(Ordering::Relaxed) { Err(RegistryError::Cancelled) } else { Ok(()) }
    }

    fn what(&self) -> String {
        format!("blob {} of {}", self.source.descriptor.digest(), self.source.repository)
    }

    /// A connection can serve another request only once its answer was read to the end.
    fn finish(&mut self) {
        if let Some(mut body) = self.body.take() {
            drop(body.read(&mut [0]));
        }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.descriptor.size() - self.offset;
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        loop {
            self.check_wanted().map_err(io::Error::other)?;
            let Some(body) = self.body.as_mut() else {
                self.reopen().map_err(io::Error::other)?;
                continue;
            };
            let source = match body.read(&mut buffer[..wanted]) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(count) => {
                    self.offset += u64::try_from(count).map_err(io::Error::other)?;
                    if self.offset == self.source.descriptor.size() {
                        self.finish();
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            self.broke(RegistryError::Body { url: self.what(), source }, None).map_err(io::Error::other)?;
        }
    }
}
