//! Signal numbers are Linux's own.

use crate::signals::LinuxSignal;
use std::ffi::c_int;

pub(crate) fn to_host(signal: LinuxSignal) -> Option<c_int> {
    Some(signal.number().into())
}

pub(crate) fn from_host(number: c_int) -> Option<LinuxSignal> {
    LinuxSignal::new(u8::try_from(number).ok()?)
}
