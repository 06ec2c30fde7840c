//! The hub on a worker thread, with its two queues and a wait set.

use super::hub::{Given, Hub, Watch};
use crate::queue::{ActiveQueue, warn_failed};
use crate::worker::{FIRST_TOKEN, Service};
use hull_platform::socket::LocalStream;
use hull_platform::wait::{Interest, Ready, WaitSet};
use std::io;

const RX_KICK: u64 = FIRST_TOKEN;
const TX_KICK: u64 = FIRST_TOKEN + 1;

/// Packets in one direction before the other has its turn.
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
            busy = self.take() | self.give();
            if !busy {
                break;
            }
        }
        if busy {
            warn_failed("kick a queue", self.tx.kick().signal());
        }
        self.hub.update_watch(&mut Epoll(waits));
    }

    /// Takes packets from the guest; whether there were any.
    fn take(&mut self) -> bool {
        let hub = &mut self.hub;
        let taken = self.tx.attempt(|queue, interrupt| {
            let mut count = 0;
            queue.disable_kicks()?;
            while count < BURST {
                if hub.take(queue)? {
                    count += 1;
                } else if hub.is_paused() || !queue.enable_kicks()? {
                    // While paused no kick is needed: the guest's next buffer comes with a kick of the other queue.
                    break;
                }
            }
            if count > 0 && queue.wants_interrupt()? {
                interrupt.used();
            }
            Ok(count > 0)
        });
        taken.unwrap_or(false)
    }

    /// Gives packets to the guest; whether there were any.
    fn give(&mut self) -> bool {
        let hub = &mut self.hub;
        let given = self.rx.attempt(|queue, interrupt| {
            let mut count = 0;
            queue.disable_kicks()?;
            while count < BURST {
                match hub.give(queue)? {
                    Given::Packet => count += 1,
                    Given::Nothing => break,
                    Given::NoBuffer => {
                        if !queue.enable_kicks()? {
                            break;
                        }
                    }
                }
            }
            if count > 0 && queue.wants_interrupt()? {
                interrupt.used();
            }
            Ok(count > 0)
        });
        given.unwrap_or(false)
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
