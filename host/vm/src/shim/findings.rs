//! Why a VM ended: several things die within a millisecond, and one of them is the cause.

use super::agent::Lost;
use crate::control::MachineEnd;
use hull_platform::process::Exit;

/// Something that the supervisor hears of.
#[derive(Debug)]
pub enum Fact {
    /// A child process of the shim has ended.
    Child {
        /// `vmm`, or a helper such as `qemu`.
        role: &'static str,
        /// How.
        exit: Exit,
        /// Its last line on standard error, made harmless.
        said: Option<String>,
    },
    /// The vmm says that the machine has ended.
    Machine(MachineEnd),
    /// The vmm's connection is closed.
    VmmSilent,
    /// The agent's connection is of no further use.
    Agent(Lost),
    /// The console says that the guest's kernel has panicked.
    Panicked,
    /// The console has no more writer.
    ConsoleEnded,
    /// The shim gives the VM up; one line.
    Failure(String),
    /// The VM is to end now, because its container has ended or somebody asked for it.
    EndNow,
    /// A deadline may have changed.
    Recount,
}

/// How much a fact says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The VM goes on.
    None,
    /// It is over, and something that tells more will probably follow at once.
    Hint,
    /// It is over.
    Cause,
}

/// What was found out about the end of a VM, before its processes were killed.
#[derive(Debug, Default)]
pub struct Findings {
    /// The machine runs in a helper program, whose end tells more than the machine's.
    helper: bool,
    failure: Option<String>,
    agent: Option<Lost>,
    machine: Option<MachineEnd>,
    children: Vec<(&'static str, Exit, Option<String>)>,
}

impl Findings {
    /// None yet, of a machine that runs in a helper program or not.
    pub fn new(helper: bool) -> Self {
        Self { helper, ..Self::default() }
    }

    /// Takes note.
    pub fn add(&mut self, fact: Fact) -> Weight {
        match fact {
            Fact::Child { role, exit, said } => self.children.push((role, exit, said)),
            Fact::Machine(end) => {
                self.machine = self.machine.take().or(Some(end));
                return if self.helper { Weight::Hint } else { Weight::Cause };
            }
            Fact::Failure(why) => self.failure = self.failure.take().or(Some(why)),
            Fact::Agent(Lost::Closed) => {
                self.agent = self.agent.take().or(Some(Lost::Closed));
                return Weight::Hint;
            }
            Fact::Agent(lost) => self.agent = Some(lost),
            Fact::VmmSilent | Fact::Panicked => return Weight::Hint,
            Fact::EndNow => {}
            Fact::ConsoleEnded | Fact::Recount => return Weight::None,
        }
        Weight::Cause
    }

    /// The most telling of the findings, in one line; `panic` is what the guest's console says of one.
    pub fn reason(&self, panic: Option<String>) -> String {
        let said = match &self.agent {
            Some(Lost::Closed) | None => None,
            Some(lost) => Some(lost.to_string()),
        };
        let machine = match &self.machine {
            Some(MachineEnd::Failed(why)) => Some(format!("the machine failed: {why}")),
            _ => None,
        };
        self.failure
            .clone()
            .or(said)
            .or_else(|| self.died(|exit| exit.signal.is_some()))
            .or_else(|| panic.map(|line| format!("the guest's kernel panicked: {line}")))
            .or_else(|| self.died(|exit| !exit.success()))
            .or(machine)
            .unwrap_or_else(|| self.quiet_end().to_owned())
    }

    fn died(&self, how: impl Fn(&Exit) -> bool) -> Option<String> {
        let (role, exit, said) = self.children.iter().find(|(_, exit, _)| how(exit))?;
        let said = said.as_ref().map(|said| format!(": {said}")).unwrap_or_default();
        Some(format!("{} died: {exit}{said}", name(role)))
    }

    fn quiet_end(&self) -> &'static str {
        if self.children.is_empty() && self.machine.is_none() {
            "the guest's agent closed its connection"
        } else {
            "the guest ended by itself"
        }
    }
}

/// A role, as people call it.
fn name(role: &str) -> String {
    match role {
        "qemu" => "QEMU".to_owned(),
        other => format!("the {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: Exit = Exit { code: None, signal: Some(9) };
    const OK: Exit = Exit { code: Some(0), signal: None };
    const FAILED: Exit = Exit { code: Some(1), signal: None };

    fn reason(facts: Vec<Fact>, panic: Option<&str>) -> String {
        let mut findings = Findings::default();
        for fact in facts {
            findings.add(fact);
        }
        findings.reason(panic.map(str::to_owned))
    }

    #[test]
    fn the_process_that_was_killed_is_named_whoever_noticed_first() {
        let vmm = || Fact::Child { role: "vmm", exit: KILLED, said: None };
        let qemu = |exit| Fact::Child { role: "qemu", exit, said: None };
        assert_eq!(reason(vec![Fact::Agent(Lost::Closed), vmm()], None), "the vmm died: signal 9 (SIGKILL)");
        assert_eq!(reason(vec![qemu(FAILED), vmm()], None), "the vmm died: signal 9 (SIGKILL)");
        assert_eq!(reason(vec![Fact::VmmSilent, qemu(KILLED)], None), "QEMU died: signal 9 (SIGKILL)");
        assert_eq!(reason(vec![qemu(FAILED)], None), "QEMU died: exit status 1");
    }

    #[test]
    fn a_helper_that_gives_up_is_quoted_though_the_machine_ended_first() {
        let mut findings = Findings::new(true);
        assert_eq!(findings.add(Fact::Machine(MachineEnd::Ended)), Weight::Hint);
        let said = Some("cannot set up guest memory".to_owned());
        assert_eq!(findings.add(Fact::Child { role: "qemu", exit: FAILED, said }), Weight::Cause);
        assert_eq!(findings.reason(None), "QEMU died: exit status 1: cannot set up guest memory");
        assert_eq!(Findings::new(false).add(Fact::Machine(MachineEnd::Ended)), Weight::Cause);
    }

    #[test]
    fn a_panic_explains_an_ordinary_end() {
        let end = || vec![Fact::Agent(Lost::Closed), Fact::Child { role: "qemu", exit: OK, said: None }];
        assert_eq!(reason(end(), Some("Kernel panic - x")), "the guest's kernel panicked: Kernel panic - x");
        assert_eq!(reason(end(), None), "the guest ended by itself");
        assert_eq!(reason(vec![Fact::Agent(Lost::Closed)], None), "the guest's agent closed its connection");
    }

    #[test]
    fn what_the_agent_or_the_shim_says_counts_most() {
        let said = Fact::Agent(Lost::Said("no cgroup".into()));
        assert_eq!(
            reason(vec![said, Fact::Child { role: "qemu", exit: KILLED, said: None }], Some("Kernel panic")),
            "the guest's agent said: no cgroup"
        );
        let late = "the guest did not answer within 60 s";
        assert_eq!(reason(vec![Fact::Failure(late.into()), Fact::Agent(Lost::Closed)], None), late);
    }
}
