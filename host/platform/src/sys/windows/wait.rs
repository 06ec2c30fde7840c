//! Wait sets are not there yet: making one fails.

use super::unsupported;
use crate::wait::{Interest, Ready};
use std::convert::Infallible;
use std::io;
use std::os::windows::io::AsHandle;
use std::time::Duration;

/// There is none.
#[derive(Debug)]
pub(crate) struct WaitSet(Infallible);

impl WaitSet {
    pub(crate) fn new() -> io::Result<Self> {
        unsupported("waiting for several objects is")
    }

    pub(crate) fn add(&self, _: &impl AsHandle, _: u64, _: Interest) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn modify(&self, _: &impl AsHandle, _: u64, _: Interest) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn remove(&self, _: &impl AsHandle) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn wait(&self, _: Option<Duration>) -> io::Result<Vec<Ready>> {
        match self.0 {}
    }
}
