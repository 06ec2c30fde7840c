//! The hidden roles: `hull shim` and `hull vmm`, which hull starts itself.

use crate::output;
use hull_protocol::exit;
use std::ffi::OsString;
use std::process::ExitCode;

/// A role that is not the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Keeps a VM.
    Shim,
    /// Runs a VM.
    Vmm,
}

/// The role that the arguments name.
pub fn find(words: &[OsString]) -> Option<Role> {
    match words.first()?.to_str()? {
        "shim" => Some(Role::Shim),
        "vmm" => Some(Role::Vmm),
        _ => None,
    }
}

impl Role {
    /// Plays it to the end.
    pub fn run(self, words: &[OsString]) -> ExitCode {
        match self {
            Self::Vmm if words.get(1).is_some_and(|word| word == "--try-jail") => hull_vm::try_jail(),
            Self::Vmm => hull_vm::vmm(),
            Self::Shim => match shim_arguments(words) {
                Some((root, vm)) => hull_vm::shim(root.as_ref(), &vm),
                None => refuse("hull shim is started by hull itself"),
            },
        }
    }
}

fn refuse(why: &str) -> ExitCode {
    output::say(why);
    ExitCode::from(exit::HULL)
}

/// `shim --root PATH --vm ID`.
fn shim_arguments(words: &[OsString]) -> Option<(&OsString, hull_protocol::VmId)> {
    match words {
        [_, root_flag, root, vm_flag, vm] if root_flag == "--root" && vm_flag == "--vm" => {
            Some((root, vm.to_str()?.parse().ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(Into::into).collect()
    }

    #[test]
    fn roles_are_found_by_their_first_word() {
        assert_eq!(find(&words(&["shim", "x"])), Some(Role::Shim));
        assert_eq!(find(&words(&["vmm"])), Some(Role::Vmm));
        assert_eq!(find(&words(&["run", "shim"])), None);
        assert_eq!(find(&[]), None);
    }

    #[test]
    fn shim_takes_its_two_arguments_and_nothing_else() {
        let id = "0123456789abcdef";
        assert!(shim_arguments(&words(&["shim", "--root", "/r", "--vm", id])).is_some());
        for bad in [&["shim"][..], &["shim", "--root", "/r", "--vm", "../x"], &["shim", "--vm", id, "--root", "/r"]] {
            assert!(shim_arguments(&words(bad)).is_none());
        }
    }
}
