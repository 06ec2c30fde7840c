//! What a peer has said about one ring.

use super::memory::MemoryTable;
use crate::queue::{ActiveQueue, Layout, Queue, QueueInterrupt, report_broken, warn_failed};
use hull_platform::event::Event;
use hull_platform::handle::Handle;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a ring is, in addresses of the peer's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct UserLayout {
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
}

/// One ring.
#[derive(Debug)]
pub(super) struct Ring {
    name: String,
    pub(super) size: Option<u16>,
    pub(super) layout: Option<UserLayout>,
    pub(super) base: u16,
    pub(super) kick: Option<Event>,
    pub(super) enabled: bool,
    /// The device has its queue.
    pub(super) running: bool,
    signals: Arc<Signals>,
}

impl Ring {
    /// A ring that nothing is known of. `name` is for messages.
    pub(super) fn new(name: String) -> Self {
        let signals = Arc::new(Signals::default());
        Self { name, size: None, layout: None, base: 0, kick: None, enabled: false, running: false, signals }
    }

    pub(super) fn set_kick(&mut self, kick: File) {
        self.kick = Some(event(kick));
    }

    pub(super) fn set_call(&self, call: Option<File>) {
        *lock(&self.signals.call) = call.map(event);
    }

    pub(super) fn set_error(&self, error: Option<File>) {
        *lock(&self.signals.error) = error.map(event);
    }

    /// What it needs to run, if it has that.
    pub(super) fn ready(&self) -> Option<(&Event, u16, UserLayout)> {
        let (kick, size, layout) = (self.kick.as_ref()?, self.size?, self.layout?);
        self.enabled.then_some((kick, size, layout))
    }

    /// The queue to run; `None` if the driver put it where no queue can be, which it is told.
    pub(super) fn queue(
        &self,
        memory: &MemoryTable,
        size: u16,
        user: UserLayout,
        kick: Event,
        features: u64,
    ) -> Option<ActiveQueue> {
        // Where nothing can be is as good as any other address that is not the guest's.
        let guest = |user| memory.translate(user).unwrap_or(u64::MAX);
        let layout = Layout {
            size,
            descriptors: guest(user.descriptors),
            available: guest(user.available),
            used: guest(user.used),
        };
        match Queue::new(memory.memory(), layout, features, self.base) {
            Ok(queue) => {
                let interrupt = Box::new(Arc::clone(&self.signals));
                Some(ActiveQueue::new(self.name.clone(), queue, kick, interrupt))
            }
            Err(error) => {
                report_broken(&self.name, &error);
                self.signals.broken();
                None
            }
        }
    }
}

/// The descriptors to signal the driver with. The peer may exchange them while the ring runs (QEMU does, to mask an
/// interrupt), hence the locks; only such an exchange ever contends for them.
#[derive(Debug, Default)]
struct Signals {
    call: Mutex<Option<Event>>,
    error: Mutex<Option<Event>>,
}

impl QueueInterrupt for Arc<Signals> {
    fn used(&self) {
        signal(&self.call, "interrupt the guest");
    }

    fn broken(&self) {
        signal(&self.error, "tell the peer of a broken ring");
    }
}

fn signal(slot: &Mutex<Option<Event>>, what: &str) {
    if let Some(event) = &*lock(slot) {
        warn_failed(what, event.signal());
    }
}

fn event(file: File) -> Event {
    Event::from(Handle::from(file))
}

// A thread that panicked left these locks poisoned but nothing behind them half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
