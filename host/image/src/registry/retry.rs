//! Trying again: how often, and how long to wait.

use super::error::RegistryError;
use super::settings::Settings;
use std::thread::sleep;
use std::time::Duration;
use ureq::http::HeaderMap;
use ureq::http::header::RETRY_AFTER;

/// The wait before try number `failures + 1`: it doubles, up to sixteen times the first, and is spread by up to a
/// quarter, so that many clients do not come back at the same instant.
pub(super) fn delay(settings: &Settings, failures: u32) -> Duration {
    let base = settings.backoff.saturating_mul(1 << failures.saturating_sub(1).min(4));
    let spread = hull_platform::random::array::<1>().map_or(0, |[byte]| u32::from(byte));
    base.saturating_add(base.saturating_mul(spread) / 1024)
}

/// How long a server asks to be left alone, in seconds; the header's other form, a date, is not used by registries.
pub(super) fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Does something until it works, fails for good, or has failed as often as the settings allow.
pub(super) fn with_retries<T>(
    settings: &Settings,
    mut action: impl FnMut() -> Result<T, Failure>,
) -> Result<T, RegistryError> {
    let mut failures = 0;
    loop {
        let Failure { error, wait } = match action() {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        failures += 1;
        if !error.is_transient() {
            return Err(*error);
        }
        if failures >= settings.tries {
            return Err(RegistryError::GaveUp { tries: failures, source: error });
        }
        log::debug!("try {failures} of {}: {error}", settings.tries);
        sleep(wait.unwrap_or_default().min(settings.longest_wait).max(delay(settings, failures)));
    }
}

/// A failed try, and how long the server asked to wait.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: Box<RegistryError>,
    pub wait: Option<Duration>,
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self { error: Box::new(error), wait: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { backoff: Duration::from_millis(1), tries: 3, ..Settings::default() }
    }

    fn busy() -> RegistryError {
        RegistryError::Status { what: "x".to_owned(), status: 503, detail: String::new() }
    }

    #[test]
    fn waits_double_up_to_a_limit() {
        let settings = Settings { backoff: Duration::from_millis(100), ..Settings::default() };
        for (failures, base) in [(1, 100), (2, 200), (3, 400), (5, 1600), (6, 1600), (u32::MAX, 1600)] {
            let wait = delay(&settings, failures).as_millis();
            assert!((base..=base * 5 / 4).contains(&wait), "{failures}: {wait}");
        }
    }

    #[test]
    fn it_gives_up() {
        let mut calls = 0;
        let result: Result<(), _> = with_retries(&settings(), || {
            calls += 1;
            Err(busy().into())
        });
        assert!(matches!(result, Err(RegistryError::GaveUp { tries: 3, .. })));
        assert_eq!(calls, 3);
    }

    #[test]
    fn it_stops_when_trying_again_is_of_no_use() {
        let mut calls = 0;
        let result: Result<(), _> = with_retries(&settings(), || {
            calls += 1;
            Err(RegistryError::Cancelled.into())
        });
        assert!(matches!(result, Err(RegistryError::Cancelled)));
        assert_eq!(calls, 1);
    }

    #[test]
    fn a_servers_wish_is_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(asked_wait(&headers), None);
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(asked_wait(&headers), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
        assert_eq!(asked_wait(&headers), None);
    }
}
