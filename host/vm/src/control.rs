//! What the shim and the vmm say to each other, over one local stream.
//!
//! Length-delimited JSON as everywhere ([`frame`]), and beside a frame the open files and sockets that it is about: the
//! vmm opens nothing itself. Handles travel with the first byte of a frame, and the receiver takes a frame's header in a
//! call of its own, so handles cannot come apart from their frame or be taken for another's.
//!
//! The vmm parses what a guest writes, so the shim does not trust it more than the guest: sizes are capped, unknown
//! fields refused, and handles are only ever accepted by the vmm.

use hull_machine::backend::Ending;
use hull_machine::plan::MachinePlan;
use hull_platform::handle::Handle;
use hull_platform::socket::LocalStream;
use hull_protocol::Port;
use hull_protocol::agent::Extent;
use hull_protocol::frame::{self, FrameError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{Read, Write};

/// One of the two disks of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    /// Read-only images.
    Images,
    /// Writable layers.
    Data,
    /// The same disk as [`Disk::Data`], for a layer that nobody needs after a crash of the host: what the guest flushes
    /// is not synced.
    Scratch,
}

/// What the shim tells the vmm to do. Each is answered by one [`Report::Answer`], in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Order {
    /// Start the machine; once, with the handles that the backend's `prepare` gave.
    Launch {
        /// What it is.
        plan: MachinePlan,
        /// Who runs it.
        backend: String,
    },
    /// Map the file that comes along, from its beginning, into a disk; writable in all but [`Disk::Images`].
    Map {
        /// Which disk.
        disk: Disk,
        /// Where.
        extent: Extent,
    },
    /// Take a mapping away and close its file, after writing out what is in flight.
    Unmap {
        /// Which disk.
        disk: Disk,
        /// What was mapped.
        extent: Extent,
    },
    /// Join the next connection that the guest makes to this port to the stream that comes along.
    Expect {
        /// The port on the host's side.
        port: Port,
    },
    /// Forget that; not an error if the connection has been made.
    Cancel {
        /// The port.
        port: Port,
    },
}

/// What the vmm tells the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Report {
    /// The vmm has confined itself; the first frame, with the layers that hold it.
    Confined(Vec<String>),
    /// What came of the oldest order without an answer; an error is one line.
    Answer(Result<(), String>),
    /// The machine has ended; the last frame.
    Ended(MachineEnd),
}

/// [`Ending`], on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum MachineEnd {
    /// The guest ended it.
    Ended,
    /// It failed; one line.
    Failed(String),
}

impl From<Ending> for MachineEnd {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Ended => Self::Ended,
            Ending::Failed(why) => Self::Failed(why),
        }
    }
}

/// Sends one message and the handles that it is about.
///
/// # Errors
/// See [`FrameError`].
pub fn send<T: Serialize>(mut to: &LocalStream, message: &T, handles: &[&Handle]) -> Result<(), FrameError> {
    let bytes = frame::encode(message)?;
    let borrowed: Vec<_> = handles.iter().map(|handle| handle.borrowed()).collect();
    let sent = if borrowed.is_empty() { 0 } else { to.send_with_handles(&bytes, &borrowed)? };
    to.write_all(bytes.get(sent..).unwrap_or_default())?;
    Ok(())
}

/// Receives one message with its handles; `None` if the other side is gone.
///
/// # Errors
/// See [`FrameError`].
pub fn receive<T: DeserializeOwned>(from: &LocalStream) -> Result<Option<(T, Vec<Handle>)>, FrameError> {
    let mut header = [0; 4];
    let (count, handles) = from.recv_with_handles(&mut header)?;
    let begun = header.get(..count).unwrap_or_default();
    Ok(frame::read(&mut begun.chain(from))?.map(|message| (message, handles)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn handles_stay_with_their_frames() {
        let (here, there) = LocalStream::pair().unwrap();
        let map = |offset| Order::Map { disk: Disk::Data, extent: Extent { offset, length: 4096 } };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"mapped").unwrap();
        let file = Handle::from(file);
        send(&here, &map(0), &[&file]).unwrap();
        send(&here, &Order::Cancel { port: Port(7) }, &[]).unwrap();
        send(&here, &map(4096), &[&file, &file]).unwrap();
        drop(here);
        let mut counts = Vec::new();
        while let Some((order, handles)) = receive::<Order>(&there).unwrap() {
            counts.push((order, handles.len()));
            for handle in handles {
                assert_eq!(File::from(handle).metadata().unwrap().len(), 6);
            }
        }
        assert_eq!(counts, [(map(0), 1), (Order::Cancel { port: Port(7) }, 0), (map(4096), 2)]);
    }

    #[test]
    fn a_hostile_vmm_gets_an_error() {
        for wire in [&b"\xff\xff\xff\xff"[..], b"\x02\0\0\0{}", b"\x10\0\0\0{", b"\x01"] {
            let (here, there) = LocalStream::pair().unwrap();
            (&here).write_all(wire).unwrap();
            drop(here);
            assert!(receive::<Report>(&there).is_err(), "{wire:?}");
        }
    }
}
