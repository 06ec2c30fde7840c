//! There are no signals; console control events are not there yet.

use super::unsupported;
use crate::signals::LinuxSignal;
use std::io;
use std::sync::mpsc::Receiver;

pub(crate) fn subscribe(_: &[LinuxSignal]) -> io::Result<Receiver<LinuxSignal>> {
    unsupported("catching signals is")
}

pub(crate) fn from_host(_: i32) -> Option<LinuxSignal> {
    None
}
