//! Watches over the processes of a VM, and ends all of them when one has ended.
//!
//! Runs on the shim's first thread, which is also the one that started the children: the kernel ties their lives to it.

use super::Shim;
use super::console::Tail;
use super::findings::{Fact, Findings, Weight};
use super::life::Phase;
use crate::rate::LineLimit;
use crate::text;
use hull_platform::process::{Child, Exit, Killer};
use std::io::{self, BufRead as _, BufReader, PipeReader, Read as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the start of the machine to the agent's first word. A software CPU is slow, and its host may be busy.
    pub boot: Duration,
    /// From readiness to the first request to start a container, for a VM that has no other purpose.
    pub first_container: Duration,
    /// From a hint that the VM is over to what tells why.
    pub settle: Duration,
    /// From killing the processes to their end.
    pub dying: Duration,
}

/// Generous on slow hosts, and still an answer for whoever waits.
pub const LIMITS: Limits = Limits {
    boot: Duration::from_secs(60),
    first_container: Duration::from_secs(15),
    settle: Duration::from_secs(1),
    dying: Duration::from_secs(10),
};

/// The role of the child that every VM has.
pub const VMM: &str = "vmm";

/// The child processes of a shim.
#[derive(Debug, Default)]
pub struct Children {
    all: Vec<(&'static str, u32, Killer)>,
}

impl Children {
    /// Watches over one more child; `errors`: what it says on standard error, which goes to the log.
    ///
    /// # Errors
    /// If the thread for it cannot be had; the child is then killed.
    pub fn add(
        &mut self,
        role: &'static str,
        mut child: Child,
        errors: Option<PipeReader>,
        facts: &Sender<Fact>,
    ) -> io::Result<()> {
        let killer = child.killer()?;
        self.all.push((role, child.id(), killer.clone()));
        let facts = facts.clone();
        let watched = super::thread("child", move || {
            let said = errors.and_then(|errors| last_words(role, errors));
            let exit = child.wait().unwrap_or(Exit { code: None, signal: None });
            // The supervisor hears it, or is gone.
            let _ = facts.send(Fact::Child { role, exit, said });
        });
        watched.map(drop).inspect_err(|_| drop(killer.kill()))
    }

    /// Role and process id of each.
    pub fn ids(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.all.iter().map(|(role, id, _)| (*role, *id))
    }

    /// Whether there is one beside the vmm.
    fn have_helper(&self) -> bool {
        self.all.iter().any(|(role, ..)| *role != VMM)
    }

    /// Ends all that live.
    pub fn kill(&self) {
        for (role, id, killer) in &self.all {
            if let Err(error) = killer.kill() {
                log::error!("cannot kill {role} (process {id}): {error}");
            }
        }
    }
}

/// Logs what a child says until it has ended; its last line. A guest may have a hand in it.
fn last_words(role: &str, errors: PipeReader) -> Option<String> {
    /// More of a line is another line.
    const LINE: u64 = 4096;
    let (mut errors, mut limit) = (BufReader::with_capacity(512, errors), LineLimit::new(Instant::now()));
    let (mut line, mut last) = (Vec::new(), None);
    while matches!(errors.by_ref().take(LINE).read_until(b'\n', &mut line), Ok(count) if count > 0) {
        let said = text::one_line(&String::from_utf8_lossy(&line));
        line.clear();
        if let Some(left_out) = limit.allow(Instant::now()).filter(|_| !said.is_empty()) {
            let left_out =
                if left_out > 0 { format!(" ({left_out} lines left out before this one)") } else { String::new() };
            log::warn!("{role}: {said}{left_out}");
        }
        last = Some(said).filter(|said| !said.is_empty()).or(last);
    }
    last
}

/// What has to have happened by a deadline.
enum Due {
    Boot,
    Unused,
}

/// Waits for the end of the VM, brings it about where it has only begun, and tells everybody.
pub fn supervise(shim: &Shim, children: &Children, facts: &Receiver<Fact>, tail: &Tail, limits: &Limits) {
    let mut watch = Watch {
        shim,
        facts,
        limits,
        begun: Instant::now(),
        findings: Findings::new(children.have_helper()),
        dead: 0,
        console: false,
    };
    let weight = watch.until_over();
    let meant = shim.life.begin_end();
    if !meant && weight == Weight::Hint {
        watch.until_clear();
    }
    watch.take_what_is_there();
    children.kill();
    let findings = std::mem::take(&mut watch.findings);
    watch.until_dead(children.all.len());
    let reason = (!meant).then(|| findings.reason(tail.panic()));
    if let Some(reason) = &reason {
        log::error!("{reason}");
    }
    shim.roster.vm_ended(reason.as_deref().unwrap_or("its VM was stopped"));
    shim.life.ended(reason);
}

struct Watch<'a> {
    shim: &'a Shim,
    facts: &'a Receiver<Fact>,
    limits: &'a Limits,
    begun: Instant,
    findings: Findings,
    dead: usize,
    console: bool,
}

impl Watch<'_> {
    fn until_over(&mut self) -> Weight {
        loop {
            let deadline = self.deadline();
            let fact = match deadline {
                None => self.facts.recv().map_err(RecvTimeoutError::from),
                Some((at, _)) => self.facts.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match (fact, deadline) {
                (Ok(fact), _) => match self.note(fact) {
                    Weight::None => {}
                    weight => return weight,
                },
                (Err(RecvTimeoutError::Timeout), Some((_, Due::Boot))) => {
                    let why = format!("the guest did not answer within {} s", self.limits.boot.as_secs());
                    return self.note(Fact::Failure(why));
                }
                (Err(RecvTimeoutError::Timeout), _) => {
                    // A container may have come in at the same instant.
                    if self.shim.life.intend_end_if_idle() {
                        return Weight::Cause;
                    }
                }
                (Err(RecvTimeoutError::Disconnected), _) => return Weight::Cause,
            }
        }
    }

    /// The next instant at which something has to have happened.
    fn deadline(&self) -> Option<(Instant, Due)> {
        let outline = self.shim.life.outline();
        let boot = (outline.phase == Phase::Booting).then(|| (self.begun + self.limits.boot, Due::Boot));
        let patience = if self.shim.own { Some(self.limits.first_container) } else { self.shim.idle_timeout };
        let unused = outline.idle_since.zip(patience).and_then(|(since, patience)| since.checked_add(patience));
        let unused = unused.map(|at| (at, Due::Unused));
        boot.into_iter().chain(unused).min_by_key(|(at, _)| *at)
    }

    fn note(&mut self, fact: Fact) -> Weight {
        match fact {
            Fact::Child { .. } => self.dead += 1,
            Fact::ConsoleEnded => self.console = true,
            _ => {}
        }
        self.findings.add(fact)
    }

    fn until_clear(&mut self) {
        let end = Instant::now() + self.limits.settle;
        while let Ok(fact) = self.facts.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if self.note(fact) == Weight::Cause {
                return;
            }
        }
    }

    /// Facts from before the kill, so that nobody takes our own signal for the cause.
    fn take_what_is_there(&mut self) {
        while let Ok(fact) = self.facts.try_recv() {
            self.note(fact);
        }
    }

    fn until_dead(&mut self, children: usize) {
        let end = Instant::now() + self.limits.dying;
        while self.dead < children || !self.console {
            let Ok(fact) = self.facts.recv_timeout(end.saturating_duration_since(Instant::now())) else {
                log::error!("{} of {children} processes have not ended", children - self.dead);
                return;
            };
            self.note(fact);
        }
    }
}
