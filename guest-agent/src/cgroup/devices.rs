//! The device controller of version 2: a BPF program on the group that is asked about every opening and making of a
//! device node (`linux/bpf.h`, `BPF_PROG_TYPE_CGROUP_DEVICE`; instructions: RFC 9669).
//!
//! Without it a container with `CAP_MKNOD`, which Docker gives to all, could open the VM's disks, and in a shared VM so
//! its neighbours' files.

#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use crate::document::{DeviceKind, DeviceRule};
use crate::error::{Result, errno, invalid};
use hull_protocol::agent::ErrorCode;
use nix::errno::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Access bits and device types in the program's context (`struct bpf_cgroup_dev_ctx`).
const MAKE: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const EVERY_ACCESS: i32 = MAKE | READ | WRITE;
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// Commands, program type, attach type and flag of bpf(2).
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// What a container attaches to groups below its own (systemd does) counts as well, and cannot undo this.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// One instruction (`struct bpf_insn`): operation, registers (source in the upper half), offset, immediate value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Instruction {
    operation: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// Operations. There is no arithmetic: the kernel would have to follow it through every rule when it checks the program.
const LOAD_WORD: u8 = 0x61;
const LOAD_HALF_WORD: u8 = 0x69;
const MOVE_VALUE: u8 = 0xb7;
const JUMP: u8 = 0x05;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const JUMP_IF_ANY_SET: u8 = 0x45;
const EXIT: u8 = 0x95;

/// Registers: 0 is the verdict, 1 the context; the others hold what is asked.
const VERDICT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const fn instruction(operation: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { operation, registers: from << 4 | to, offset, immediate }
}

/// A loaded program.
#[derive(Debug)]
pub struct DeviceProgram(OwnedFd);

impl DeviceProgram {
    /// The program for these rules; none if they allow everything.
    ///
    /// # Errors
    /// Rules that are none, or a kernel without the controller.
    pub fn load(rules: &[DeviceRule]) -> Result<Option<Self>> {
        let rules = rules.iter().map(Rule::parse).collect::<Result<Vec<_>>>()?;
        match rules.last() {
            None => Ok(None),
            Some(last) if last.allow && last.is_about_everything() => Ok(None),
            Some(_) => load(&compile(&rules)).map(Some),
        }
    }

    /// Puts it into force for a group.
    ///
    /// # Errors
    /// The kernel's.
    pub fn attach(&self, group: BorrowedFd<'_>) -> Result<()> {
        let number = |descriptor: BorrowedFd<'_>| descriptor.as_raw_fd().cast_unsigned();
        let arguments = [number(group), number(self.0.as_fd()), BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI];
        // SAFETY: the command reads the four words and no memory besides.
        let attached =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const arguments, size_of_val(&arguments)) };
        Errno::result(attached).map(drop).map_err(|error| refused(error, "attach"))
    }
}

impl AsFd for DeviceProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn refused(error: Errno, what: &str) -> hull_protocol::agent::AgentError {
    let code = if error == Errno::ENOSYS { ErrorCode::Unsupported } else { ErrorCode::Internal };
    errno(code, &format!("cannot {what} the device rules (does the guest's kernel have CONFIG_CGROUP_BPF?)"), error)
}

fn load(program: &[Instruction]) -> Result<DeviceProgram> {
    /// The leading fields of `union bpf_attr` for `BPF_PROG_LOAD`.
    #[repr(C)]
    struct Arguments {
        program_type: u32,
        count: u32,
        instructions: u64,
        license: u64,
    }
    let license: &CStr = c"Apache-2.0";
    let arguments = Arguments {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| invalid("too many device rules"))?,
        instructions: program.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
    };
    // SAFETY: the command reads the structure, `count` instructions and the license, all of which outlive the call.
    let loaded = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const arguments, size_of_val(&arguments)) };
    let descriptor = Errno::result(loaded).map_err(|error| refused(error, "load"))?;
    let descriptor = RawFd::try_from(descriptor).map_err(|_| refused(Errno::EOVERFLOW, "load"))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(DeviceProgram(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

/// A rule; none stands for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Option<i32>,
    major: Option<i32>,
    minor: Option<i32>,
    access: i32,
}

impl Rule {
    fn parse(rule: &DeviceRule) -> Result<Self> {
        let kind = match rule.kind.unwrap_or(DeviceKind::A) {
            DeviceKind::A => None,
            DeviceKind::B => Some(BLOCK),
            DeviceKind::C | DeviceKind::U => Some(CHARACTER),
            DeviceKind::P => return Err(invalid("a device rule cannot be about FIFOs")),
        };
        let number = |number: Option<i64>| match number {
            // The specification writes "any" as absent, the kernel's old interface as -1.
            None | Some(-1) => Ok(None),
            Some(number) => {
                let number = i32::try_from(number).ok().filter(|number| *number >= 0);
                number.map(Some).ok_or_else(|| invalid("a device rule has an impossible number"))
            }
        };
        let access = rule.access.as_deref().unwrap_or("rwm").chars().try_fold(0, |access, letter| match letter {
            'r' => Ok(access | READ),
            'w' => Ok(access | WRITE),
            'm' => Ok(access | MAKE),
            _ => Err(invalid(format!("a device rule has an unknown access: {letter:?}"))),
        })?;
        Ok(Self { allow: rule.allow, kind, major: number(rule.major)?, minor: number(rule.minor)?, access })
    }

    fn is_about_everything(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == EVERY_ACCESS
    }

    /// Tests, each of which jumps behind the rule if it does not hold, then the verdict.
    fn compile(&self, program: &mut Vec<Instruction>) {
        let mut body = Vec::with_capacity(8);
        let equal =
            |register, value: Option<i32>| value.map(|value| instruction(JUMP_IF_NOT_EQUAL, register, 0, 0, value));
        body.extend(equal(KIND, self.kind));
        if self.access != EVERY_ACCESS {
            // What is allowed must cover all that is asked; what is denied must touch some of it.
            if self.allow {
                body.push(instruction(JUMP_IF_ANY_SET, ACCESS, 0, 0, EVERY_ACCESS & !self.access));
            } else {
                let over_the_next = 1;
                body.push(instruction(JUMP_IF_ANY_SET, ACCESS, 0, over_the_next, self.access));
                body.push(instruction(JUMP, 0, 0, 0, 0));
            }
        }
        body.extend(equal(MAJOR, self.major));
        body.extend(equal(MINOR, self.minor));
        body.push(instruction(MOVE_VALUE, VERDICT, 0, 0, self.allow.into()));
        body.push(instruction(EXIT, 0, 0, 0, 0));
        let mut behind = i16::try_from(body.len()).expect("a rule has at most nine instructions");
        for one in &mut body {
            behind -= 1;
            if matches!(one.operation, JUMP | JUMP_IF_NOT_EQUAL | JUMP_IF_ANY_SET) && one.offset == 0 {
                one.offset = behind;
            }
        }
        program.append(&mut body);
    }
}

/// The rules are asked from the last to the first: the last one that fits decides, and without one the answer is no.
fn compile(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        // The two halves of one word, on machines that are little-endian, as all of ours are.
        instruction(LOAD_HALF_WORD, KIND, CONTEXT, 0, 0),
        instruction(LOAD_HALF_WORD, ACCESS, CONTEXT, 2, 0),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        rule.compile(&mut program);
        if rule.is_about_everything() {
            // Nothing behind it can be reached, which the kernel would refuse.
            return program;
        }
    }
    program.push(instruction(MOVE_VALUE, VERDICT, 0, 0, 0));
    program.push(instruction(EXIT, 0, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests;
