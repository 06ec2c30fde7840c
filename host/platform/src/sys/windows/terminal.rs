//! The console is not there yet: no size, no raw mode.

use super::unsupported;
use std::io;

pub(crate) fn size() -> Option<(u16, u16)> {
    None
}

pub(crate) fn enter_raw() -> io::Result<()> {
    unsupported("raw mode is")
}

pub(crate) fn leave_raw() {}

pub(crate) fn restore() {}
