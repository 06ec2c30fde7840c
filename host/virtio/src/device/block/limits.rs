//! How fast a guest may use a block device.

use crate::rate_limit::RateLimit;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Limits of one device; what is `None` has no limit. Only bytes that are read and written count as bytes: to discard or
/// to zero a range costs the host a call, whatever its length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes read and written.
    pub bytes: Option<RateLimit>,
    /// Requests of any kind.
    pub operations: Option<RateLimit>,
}

/// The limits as the queues of a device share them. Without any, a request costs no lock and reads no clock.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedLimits(Option<Arc<Mutex<Limits>>>);

impl SharedLimits {
    pub(super) fn new(limits: Limits) -> Self {
        Self((limits != Limits::default()).then(|| Arc::new(Mutex::new(limits))))
    }

    /// Until when no request may be served.
    pub(super) fn pause(&self) -> Option<Instant> {
        let limits = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        [limits.bytes, limits.operations].iter().flatten().filter_map(|limit| limit.pause(now)).max()
    }

    /// Charges for a request that moves this many bytes.
    pub(super) fn charge(&self, bytes: u64) {
        let Some(limits) = &self.0 else { return };
        let (mut limits, now) = (limits.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        if let Some(limit) = &mut limits.bytes {
            limit.charge(bytes, now);
        }
        if let Some(limit) = &mut limits.operations {
            limit.charge(1, now);
        }
    }
}
