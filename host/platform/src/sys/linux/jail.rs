//! The jail on Linux; what each layer is for:
//!
//! | layer | takes away | man page |
//! |---|---|---|
//! | no-new-privileges | set-uid programs | prctl(2) |
//! | no-dumps | ptrace(2) and core dumps by the same user | `PR_SET_DUMPABLE` |
//! | limits | core files, many descriptors | setrlimit(2) |
//! | empty-root | every path (root only) | mount_namespaces(7), pivot_root(2) |
//! | no-network | every network interface and abstract socket (root only) | network_namespaces(7) |
//! | own-uid | what else that uid owns (root only) | setresuid(2) |
//! | no-capabilities | every privilege | capabilities(7) |
//! | landlock | every path and TCP port, for anybody | landlock(7) |
//! | seccomp | every system call without a use | seccomp(2) |
//!
//! The order matters: what needs privileges comes before they are given up, and seccomp, which forbids all of this, last.

mod filter;
mod privileges;
mod trial;

pub(crate) use trial::attempts;

use crate::jail::{Jail, JailError, Role};
use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

/// Descriptors: a few per connection of the guest, of which there are at most 1024, and per mapped file.
const MAX_DESCRIPTORS: u64 = 8192;

static CONFINED: AtomicBool = AtomicBool::new(false);

pub(super) fn failed<E: Into<Box<dyn Error + Send + Sync>>>(action: &'static str) -> impl FnOnce(E) -> JailError {
    move |source| JailError { action, source: source.into() }
}

pub(crate) fn confine(uid: u32) -> Result<Jail, JailError> {
    let mut layers = Vec::new();
    let tied_to_parent = prctl::get_pdeathsig().map_err(failed("read the parent-death signal"))?;
    if nix::unistd::geteuid().is_root() {
        if privileges::leave_file_systems()? {
            layers.extend(["empty-root", "no-network"]);
        }
        if privileges::become_uid(uid)? {
            layers.push("own-uid");
        }
    }
    privileges::drop_capabilities()?;
    layers.push("no-capabilities");
    // A change of credentials unties a process from its parent, and makes it dumpable as the kernel sees fit.
    prctl::set_pdeathsig(tied_to_parent.or(None::<Signal>)).map_err(failed("stay tied to the parent"))?;
    prctl::set_no_new_privs().map_err(failed("forbid new privileges"))?;
    prctl::set_dumpable(false).map_err(failed("forbid dumps"))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed("forbid core files"))?;
    let (_, most) =
        nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE).map_err(failed("read the limit of descriptors"))?;
    let most = most.min(MAX_DESCRIPTORS);
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(failed("limit descriptors"))?;
    layers.extend(["no-new-privileges", "no-dumps", "limits"]);
    if landlock()? {
        layers.push("landlock");
    }
    filter::install(filter::Scope::Process)?;
    CONFINED.store(true, Ordering::Release);
    layers.push("seccomp");
    Ok(Jail { layers })
}

pub(crate) fn narrow(role: Role) -> Result<(), JailError> {
    if CONFINED.load(Ordering::Acquire) { filter::install(filter::Scope::Thread(role)) } else { Ok(()) }
}

/// Forbids every path and every TCP port, as far as this kernel can; whether it can.
fn landlock() -> Result<bool, JailError> {
    let restrict = || {
        let files = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?;
        files.handle_access(AccessNet::from_all(ABI::V5))?.create()?.restrict_self()
    };
    let status = restrict().map_err(failed("restrict itself by Landlock"))?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
