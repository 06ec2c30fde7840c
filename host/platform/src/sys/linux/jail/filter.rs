//! System call filters: seccomp(2), compiled by `seccompiler`.
//!
//! One list a role, each call there because something of ours makes it. A call that is not listed fails with `EPERM` rather
//! than killing the process: what the C library may try in its next version (a new way to start a thread, say) then costs
//! an error and not a user's VM, and refused is refused.
//!
//! `clone3` fails with `ENOSYS`: its flags are in memory, where no filter can see them. The C library then uses `clone`,
//! whose flags must be those of a thread.

use super::failed;
use crate::jail::{JailError, Role};
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Compare, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use std::collections::BTreeMap;

/// Whom a filter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Every thread from now on: what any of them needs.
    Process,
    /// This thread.
    Thread(Role),
}

/// What every thread does: memory, locks, time, its own end.
const BASIC: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
];

/// Bytes between descriptors and memory, and waiting for them.
const TRANSFER: &[c_long] = &[
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_wait,
    libc::SYS_fallocate,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_ppoll,
    libc::SYS_poll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_statx,
    libc::SYS_timerfd_settime,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Starting a thread with what it waits for.
const THREADS: &[c_long] = &[
    libc::SYS_dup,
    libc::SYS_epoll_create1,
    libc::SYS_eventfd2,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_timerfd_create,
];

/// Building a machine: its memory, and the registers of its threads' signals.
const BUILD: &[c_long] = &[
    libc::SYS_ftruncate,
    libc::SYS_getsockopt,
    libc::SYS_lseek,
    libc::SYS_memfd_create,
    libc::SYS_prlimit64,
    libc::SYS_rt_sigaction,
    libc::SYS_setsockopt,
];

/// `_IOC_TYPE` of KVM's requests, and the bits of a request where it stands.
const KVM: u64 = 0xae00;
const TYPE_BITS: u64 = 0xff00;
const FIONBIO: u64 = 0x5421;
const KVM_RUN: u64 = 0xae80;
const KVM_GET_REGS: u64 = 0x8090_ae81;
const KVM_GET_SREGS: u64 = 0x8138_ae83;

const THREAD_FLAGS: u64 = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_FILES) as u64;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Puts the filter of `scope` on the calling thread, and on those that it will start.
pub(super) fn install(scope: Scope) -> Result<(), JailError> {
    let programs = programs(scope).map_err(failed("compile its system call filter"))?;
    for program in &programs {
        apply_filter(program).map_err(failed("install its system call filter"))?;
    }
    Ok(())
}

fn programs(scope: Scope) -> Result<Vec<BpfProgram>, Failure> {
    let allowed = filter(rules(scope)?, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)?;
    if matches!(scope, Scope::Thread(Role::Device | Role::Control)) {
        return Ok(vec![allowed]);
    }
    // Of two filters that answer with an error, the one installed last counts.
    let clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let no_clone3 = filter(clone3, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    Ok(vec![allowed, no_clone3])
}

fn filter(rules: Rules, otherwise: SeccompAction, then: SeccompAction) -> Result<BpfProgram, Failure> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, otherwise, then, arch)?.try_into()?)
}

fn rules(scope: Scope) -> Result<Rules, Failure> {
    let lists: &[&[c_long]] = match scope {
        Scope::Process => &[BASIC, TRANSFER, THREADS, BUILD],
        Scope::Thread(Role::Device | Role::Control) => &[BASIC, TRANSFER],
        Scope::Thread(Role::Front | Role::Vcpu) => &[BASIC, TRANSFER, THREADS],
    };
    let mut rules: Rules = lists.iter().copied().flatten().map(|call| (*call, Vec::new())).collect();
    let mut when = |call: c_long, conditions: Vec<Vec<SeccompCondition>>| -> Result<(), Failure> {
        let conditions = conditions.into_iter().map(SeccompRule::new).collect::<Result<_, _>>()?;
        rules.insert(call, conditions);
        Ok(())
    };
    // Memory that is both written and executed has no use.
    let no_exec = || SeccompCondition::new(2, Width::Dword, Compare::MaskedEq(libc::PROT_EXEC as u64), 0);
    when(libc::SYS_mmap, vec![vec![no_exec()?]])?;
    when(libc::SYS_mprotect, vec![vec![no_exec()?]])?;
    // Only itself: the kick of a vCPU, and abort(3).
    let own = u64::from(std::process::id());
    when(libc::SYS_tgkill, vec![vec![SeccompCondition::new(0, Width::Dword, Compare::Eq, own)?]])?;
    let name = SeccompCondition::new(0, Width::Dword, Compare::Eq, libc::PR_SET_NAME as u64)?;
    match scope {
        Scope::Thread(Role::Device | Role::Control) => when(libc::SYS_prctl, vec![vec![name]])?,
        _ => {
            let thread = SeccompCondition::new(0, Width::Qword, Compare::MaskedEq(THREAD_FLAGS), THREAD_FLAGS)?;
            when(libc::SYS_clone, vec![vec![thread]])?;
            // A thread of this one narrows itself further.
            let narrow = SeccompCondition::new(0, Width::Dword, Compare::Eq, libc::PR_SET_NO_NEW_PRIVS as u64)?;
            when(libc::SYS_prctl, vec![vec![name], vec![narrow]])?;
            let set = SeccompCondition::new(0, Width::Dword, Compare::Eq, libc::SECCOMP_SET_MODE_FILTER.into())?;
            when(libc::SYS_seccomp, vec![vec![set]])?;
        }
    }
    when(libc::SYS_ioctl, requests(scope)?)?;
    Ok(rules)
}

/// The device requests of a role.
fn requests(scope: Scope) -> Result<Vec<Vec<SeccompCondition>>, Failure> {
    let exactly = |request| SeccompCondition::new(1, Width::Dword, Compare::Eq, request);
    let mut allowed = vec![vec![exactly(FIONBIO)?]];
    match scope {
        Scope::Process => {
            allowed.push(vec![SeccompCondition::new(1, Width::Dword, Compare::MaskedEq(TYPE_BITS), KVM)?]);
        }
        Scope::Thread(Role::Vcpu) => {
            for request in [KVM_RUN, KVM_GET_REGS, KVM_GET_SREGS] {
                allowed.push(vec![exactly(request)?]);
            }
        }
        Scope::Thread(Role::Front | Role::Device | Role::Control) => {}
    }
    Ok(allowed)
}
