//! The agent itself: one loop over everything that can happen, and what it keeps in mind.
//!
//! ```text
//!                    ┌──────────── control connection: requests ────> requests
//!   epoll ── turn ──>├──────────── SIGCHLD: ends of processes ──────> endings
//!                    ├──────────── reports of children being set up ─> starting
//!                    └──────────── streams and pipes ──────────────> relays
//! ```

mod endings;
mod inspection;
mod relays;
mod requests;
mod starting;
mod tables;
mod watch;

use crate::cgroup::Cgroups;
use crate::container::MountPoints;
use crate::control::Control;
use crate::dial::Dial;
use crate::disks::Disks;
use crate::errand::Errand;
use crate::error::{Context, Result};
use hull_protocol::agent::{AgentError, Answer, Event, GuestFrame, Outcome};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use relays::Relays;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tables::{Container, Process};
use watch::{Token, Watch};

/// How long to wait before another attempt to give up a disk that was busy.
const RETRY: Duration = Duration::from_millis(2);

/// What the agent works with.
#[derive(Debug)]
pub struct Environment {
    /// The way to the host.
    pub dial: Box<dyn Dial>,
    /// The disks.
    pub disks: Box<dyn Disks>,
    /// Where the hierarchy of control groups is mounted.
    pub cgroups: PathBuf,
    /// Where containers mount their roots, each in its own namespace.
    pub mount_points: MountPoints,
    /// What is still being done for containers, and must be done when the first one runs.
    pub settling: Option<Errand>,
}

/// Why the agent's work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The host asked for it, and has its answer.
    Asked,
    /// The host has closed the control connection.
    HostGone,
}

/// The agent.
#[derive(Debug)]
pub struct Agent {
    control: Control,
    watch: Watch,
    signals: SignalFd,
    dial: Box<dyn Dial>,
    disks: Box<dyn Disks>,
    cgroups: Cgroups,
    mount_points: MountPoints,
    settling: Option<Errand>,
    containers: Vec<Container>,
    processes: Vec<Process>,
    /// The last [`Process::key`] that was given out.
    last_key: u32,
    relays: Relays,
    ending: Option<Ending>,
}

/// The host has asked for the end.
#[derive(Debug, Clone, Copy)]
struct Ending {
    request: u64,
    asked: Instant,
}

impl Agent {
    /// An agent whose handshake is done.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(control: Control, environment: Environment) -> Result<Self> {
        let Environment { dial, disks, cgroups, mount_points, settling } = environment;
        control.unblock()?;
        let watch = Watch::new()?;
        watch.add(&control, Token::Control)?;
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        children.thread_block().context(|| "cannot block SIGCHLD".to_owned())?;
        let signals = SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        let signals = signals.context(|| "cannot watch for SIGCHLD".to_owned())?;
        watch.add(&signals, Token::Signals)?;
        Ok(Self {
            control,
            watch,
            signals,
            dial,
            disks,
            cgroups: Cgroups::new(cgroups),
            mount_points,
            settling,
            containers: Vec::new(),
            processes: Vec::new(),
            last_key: 0,
            relays: Relays::default(),
            ending: None,
        })
    }

    /// Does what the host asks until it asks for the end, or is gone.
    ///
    /// # Errors
    /// What the agent cannot go on after: a broken control connection, for one.
    pub fn run(&mut self) -> Result<End> {
        // Children from before the agent watched for their ends may have ended.
        self.reap()?;
        // Requests may have come together with the host's welcome.
        let mut end = self.serve_requests()?;
        while end.is_none() {
            end = self.turn()?;
        }
        end.map_or(Ok(End::HostGone), Ok)
    }

    fn turn(&mut self) -> Result<Option<End>> {
        for ready in self.watch.wait(self.patience())? {
            match ready.token {
                Token::Control => {
                    self.control.flush()?;
                    if let Some(end) = self.serve_requests()? {
                        return Ok(Some(end));
                    }
                }
                Token::Signals => {
                    while let Ok(Some(_)) = self.signals.read_signal() {}
                    self.reap()?;
                }
                Token::Report(key) => self.read_report(key)?,
                Token::Relay(key) => self.advance_relay(key, ready.broken)?,
            }
        }
        for key in self.relays.take_unfinished() {
            self.advance_relay(key, false)?;
        }
        self.release_disks()?;
        self.end_if_asked()
    }

    /// How long nothing needs to be done unless something happens.
    fn patience(&self) -> Option<Duration> {
        if self.relays.has_unfinished() {
            return Some(Duration::ZERO);
        }
        let impatient = self.ending.is_some() || self.containers.iter().any(Container::is_releasing);
        impatient.then_some(RETRY)
    }

    fn answer(&mut self, id: u64, result: Result<Outcome, AgentError>) -> Result<()> {
        self.control.send(&GuestFrame::Answer(Answer { id, result }))
    }

    fn tell(&mut self, event: Event) -> Result<()> {
        self.control.send(&GuestFrame::Event(event))
    }

    fn warn(&mut self, message: String) -> Result<()> {
        self.tell(Event::Warning { message })
    }
}

impl std::os::fd::AsFd for Agent {
    /// The control connection, for last words.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.control.as_fd()
    }
}
