//! The life of a VM as its threads see it.
//!
//! ```text
//!   Booting ──handshake──> Up ──┐
//!      └────────────────────────┴──> Ending ──> Ended ──> Gone
//!                                      │          │         └ its directory and socket are away: clients are answered
//!                                      │          └ no process of it is left: states are recorded
//!                                      └ nothing new is taken; the supervisor ends its processes
//! ```
//! Containers are members from before they start until their end is recorded, so that a VM cannot end between a
//! client's request and its container, and is not cleared away before every state has been written.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The guest has not spoken yet.
    Booting,
    /// It takes requests.
    Up,
    /// It takes nothing new.
    Ending,
    /// None of its processes is left.
    Ended,
    /// Nothing is left but the shim.
    Gone,
}

/// The VM takes no requests; the reason in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct VmGone(pub String);

/// The state of a VM, to wait on.
#[derive(Debug)]
pub struct Life {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    kernel: Option<String>,
    jail: Vec<String>,
    closed: bool,
    intended: bool,
    reason: Option<String>,
    members: usize,
    /// Since when there is no member.
    idle_since: Instant,
}

/// One container's share in the VM; given back when it is dropped.
#[derive(Debug)]
pub struct Member(Arc<Life>);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.members -= 1;
            state.idle_since = Instant::now();
        });
    }
}

/// What the supervisor's deadlines depend on.
#[derive(Debug, Clone, Copy)]
pub struct Outline {
    /// How far it has come.
    pub phase: Phase,
    /// Since when it has none, if so.
    pub idle_since: Option<Instant>,
}

impl Life {
    /// A VM that boots.
    pub fn new() -> Arc<Self> {
        let state = State {
            phase: Phase::Booting,
            kernel: None,
            jail: Vec::new(),
            closed: false,
            intended: false,
            reason: None,
            members: 0,
            idle_since: Instant::now(),
        };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    fn wait_while(&self, condition: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), condition).unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest has spoken.
    pub fn ready(&self, kernel: &str) {
        self.change(|state| {
            state.kernel = Some(kernel.to_owned());
            state.phase = state.phase.max(Phase::Up);
        });
    }

    /// Waits until the guest has spoken, or never will.
    ///
    /// # Errors
    /// [`VmGone`] if the VM is ending.
    pub fn wait_up(&self) -> Result<(), VmGone> {
        let state = self.wait_while(|state| state.phase == Phase::Booting);
        if state.phase == Phase::Up {
            return Ok(());
        }
        drop(state);
        // What it died of is known once it is dead.
        Err(self.wait_ended())
    }

    /// Takes a container in.
    ///
    /// # Errors
    /// [`VmGone`] if the VM is ending; then once it is known why.
    pub fn enter(self: &Arc<Self>) -> Result<Member, VmGone> {
        let refused = self.change(|state| {
            if state.closed || state.phase >= Phase::Ending {
                return Some(state.phase);
            }
            state.members += 1;
            None
        });
        match refused {
            None => Ok(Member(Arc::clone(self))),
            // Its containers may take their time to stop.
            Some(phase) if phase < Phase::Ending => Err(VmGone("the VM is being stopped".to_owned())),
            Some(_) => Err(self.wait_ended()),
        }
    }

    /// Takes no container in from now on, but goes on for those inside.
    pub fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Ends it on purpose: whatever dies from now on was meant to.
    pub fn intend_end(&self) {
        self.change(|state| {
            state.intended |= state.phase < Phase::Ending;
            state.phase = state.phase.max(Phase::Ending);
        });
    }

    /// Ends it on purpose if it has no container; whether it did.
    pub fn intend_end_if_idle(&self) -> bool {
        self.change(|state| {
            let idle = state.members == 0 && state.phase < Phase::Ending;
            if idle {
                state.intended = true;
                state.phase = Phase::Ending;
            }
            idle
        })
    }

    /// Something has died; whether that was meant.
    pub fn begin_end(&self) -> bool {
        self.change(|state| {
            state.phase = state.phase.max(Phase::Ending);
            state.intended
        })
    }

    /// No process is left; `reason` says why if it was not meant.
    pub fn ended(&self, reason: Option<String>) {
        self.change(|state| {
            state.reason = reason;
            state.phase = state.phase.max(Phase::Ended);
        });
    }

    /// Waits until no process of it is left.
    pub fn wait_ended(&self) -> VmGone {
        self.wait_while(|state| state.phase < Phase::Ended).gone()
    }

    /// Waits until every container's end has been recorded.
    pub fn wait_recorded(&self) {
        drop(self.wait_while(|state| state.members > 0));
    }

    /// Nothing of it is left.
    pub fn gone(&self) {
        self.change(|state| state.phase = Phase::Gone);
    }

    /// Waits until nothing of it is left.
    pub fn wait_gone(&self) {
        drop(self.wait_while(|state| state.phase < Phase::Gone));
    }

    /// Whether it is ending or has ended.
    pub fn is_ending(&self) -> bool {
        self.lock().phase >= Phase::Ending
    }

    /// Why it ended, if that was not meant and is known.
    pub fn reason(&self) -> Option<String> {
        self.lock().reason.clone()
    }

    /// The vmm has confined itself. Only its first word counts: later ones may be a guest's.
    pub fn confined(&self, layers: Vec<String>) {
        self.change(|state| {
            if state.jail.is_empty() {
                state.jail = layers;
            }
        });
    }

    /// The layers of the vmm's jail.
    pub fn jail(&self) -> Vec<String> {
        self.lock().jail.clone()
    }

    /// `uname -r` of the guest, once it has spoken.
    pub fn kernel(&self) -> Option<String> {
        self.lock().kernel.clone()
    }

    /// What deadlines depend on.
    pub fn outline(&self) -> Outline {
        let state = self.lock();
        let idle_since = (state.members == 0).then_some(state.idle_since);
        Outline { phase: state.phase, idle_since }
    }
}

impl State {
    fn gone(&self) -> VmGone {
        VmGone(self.reason.clone().unwrap_or_else(|| "the VM has ended".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_wait_for_the_guest_and_hear_why_it_never_came() {
        let life = Life::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| life.wait_up());
            assert!(!life.begin_end());
            life.ended(Some("QEMU died".into()));
            assert_eq!(waiting.join().unwrap(), Err(VmGone("QEMU died".into())));
        });
        let life = Life::new();
        life.ready("6.12");
        assert_eq!(life.wait_up(), Ok(()));
        assert_eq!(life.kernel().as_deref(), Some("6.12"));
    }

    #[test]
    fn an_ending_vm_takes_nobody_in_and_waits_for_those_inside() {
        let life = Life::new();
        let member = life.enter().unwrap();
        life.close();
        assert!(life.enter().is_err() && !life.is_ending());
        assert!(!life.intend_end_if_idle(), "it has a container");
        life.intend_end();
        assert!(life.begin_end(), "what dies now was meant to");
        std::thread::scope(|scope| {
            let refused = scope.spawn(|| life.enter().map(drop));
            life.ended(Some("it was time".into()));
            assert_eq!(refused.join().unwrap(), Err(VmGone("it was time".into())));
            let recorded = scope.spawn(|| life.wait_recorded());
            drop(member);
            recorded.join().unwrap();
        });
    }

    #[test]
    fn a_death_that_came_first_was_not_meant() {
        let life = Life::new();
        assert!(!life.begin_end());
        life.intend_end();
        assert!(!life.begin_end());
    }

    #[test]
    fn an_idle_vm_can_be_ended_once() {
        let life = Life::new();
        drop(life.enter().unwrap());
        assert!(life.outline().idle_since.is_some());
        assert!(life.intend_end_if_idle());
        assert!(!life.intend_end_if_idle());
    }
}
