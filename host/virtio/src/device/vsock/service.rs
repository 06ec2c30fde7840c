//! The hub on a worker thread, with its two queues and a wait set.

use super::hub::{Given, Hub, Watch};
use super::stream::Stream;
use crate::queue::{ActiveQueue, warn_failed};
use crate::worker::{FIRST_TOKEN, Service};
use hull_platform::socket::LocalStream;
use hull_platform::wait::{Interest, Ready, WaitSet};
use std::io;

const RX_KICK: u64 = FIRST_TOKEN;
const TX_KICK: u64 = FIRST_TOKEN + 1;

/// Turns in one direction before the other has its turn.
const BURST: usize = 128;

/// Turns before the worker looks at its wait set again, which it must do to be stopped.
const TURNS: usize = 4;

/// What the worker of a vsock device runs.
pub(super) struct VsockService {
    hub: Box<Hub<LocalStream>>,
    rx: ActiveQueue,
    tx: ActiveQueue,
}

impl VsockService {
    pub(super) fn new(hub: Box<Hub<LocalStream>>, rx: ActiveQueue, tx: ActiveQueue) -> Self {
        Self { hub, rx, tx }
    }

    pub(super) fn into_parts(self) -> (Box<Hub<LocalStream>>, ActiveQueue, ActiveQueue) {
        (self.hub, self.rx, self.tx)
    }

    /// Moves packets both ways until there is nothing to do.
    fn serve(&mut self, waits: &WaitSet) {
        let mut busy = true;
        for _ in 0..TURNS {
            // Both, whatever the first says: an answer may be due, and what was given may end a pause.
            busy = take(&mut self.hub, &mut self.tx) | give(&mut self.hub, &mut self.rx);
            if !busy {
                break;
            }
        }
        if busy {
            warn_failed("kick a queue", self.tx.kick().signal());
        }
        self.hub.update_watch(&mut Epoll(waits));
    }
}

impl Service for VsockService {
    fn begin(&mut self, waits: &WaitSet) -> io::Result<()> {
        waits.add(self.rx.kick(), RX_KICK, Interest::READ)?;
        waits.add(self.tx.kick(), TX_KICK, Interest::READ)?;
        self.hub.watch_all(&mut Epoll(waits));
        self.serve(waits);
        Ok(())
    }

    fn ready(&mut self, waits: &WaitSet, ready: &[Ready]) {
        for ready in ready {
            match ready.token {
                RX_KICK => self.rx.clear_kick(),
                TX_KICK => self.tx.clear_kick(),
                _ => self.hub.ready(ready),
            }
        }
        self.serve(waits);
    }
}

/// Takes packets from the guest; whether there were any.
pub(super) fn take<S: Stream>(hub: &mut Hub<S>, tx: &mut ActiveQueue) -> bool {
    let taken = tx.attempt(|queue, interrupt| {
        let mut taken = false;
        queue.disable_kicks()?;
        // Bounded by turns, not by packets: a driver that has put one ring over the other can make chains appear in
        // one and vanish again by what is written to the other.
        for _ in 0..BURST {
            if hub.take(queue)? {
                taken = true;
            } else if hub.is_paused() || !queue.enable_kicks()? {
                // While paused no kick is needed: the guest's next buffer comes with a kick of the other queue.
                break;
            }
        }
        if taken && queue.wants_interrupt()? {
            interrupt.used();
        }
        Ok(taken)
    });
    taken.unwrap_or(false)
}

/// Gives packets to the guest; whether there were any.
pub(super) fn give<S: Stream>(hub: &mut Hub<S>, rx: &mut ActiveQueue) -> bool {
    let given = rx.attempt(|queue, interrupt| {
        let mut given = false;
        queue.disable_kicks()?;
        for _ in 0..BURST {
            match hub.give(queue)? {
                Given::Packet => given = true,
                Given::Nothing => break,
                Given::NoBuffer => {
                    if !queue.enable_kicks()? {
                        break;
                    }
                }
            }
        }
        if given && queue.wants_interrupt()? {
            interrupt.used();
        }
        Ok(given)
    });
    given.unwrap_or(false)
}

struct Epoll<'a>(&'a WaitSet);

impl Watch<LocalStream> for Epoll<'_> {
    fn watch(&mut self, id: u64, stream: &LocalStream, old: Option<Interest>, new: Option<Interest>) -> io::Result<()> {
        match (old, new) {
            (None, Some(interest)) => self.0.add(stream, id, interest),
            (Some(_), Some(interest)) => self.0.modify(stream, id, interest),
            (Some(_), None) => self.0.remove(stream),
            (None, None) => Ok(()),
        }
    }
}
