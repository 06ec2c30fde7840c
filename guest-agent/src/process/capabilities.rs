//! Capability sets (capabilities(7)) as bit masks, and their way into the kernel.

#![expect(unsafe_code, reason = "capset(2) and these commands of prctl(2) have no safe wrapper")]

use crate::document::Capabilities;
use crate::error::{Context, Result, invalid, quote};
use nix::errno::Errno;

/// `_LINUX_CAPABILITY_VERSION_3` (`linux/capability.h`).
const VERSION: u32 = 0x2008_0522;

/// The names, each at the place of its number (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The sets of a process; the default is none at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    bounding: u64,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
}

impl CapabilitySets {
    /// The sets that a document asks for.
    ///
    /// # Errors
    /// A name that is none.
    pub fn new(sets: &Capabilities) -> Result<Self> {
        Ok(Self {
            bounding: mask(&sets.bounding)?,
            effective: mask(&sets.effective)?,
            permitted: mask(&sets.permitted)?,
            inheritable: mask(&sets.inheritable)?,
            ambient: mask(&sets.ambient)?,
        })
    }

    /// The sets as `execve` will leave them for this user. One that is not root loses what is not ambient; it must not
    /// use it either while the program is searched and opened.
    pub fn of_user(self, uid: u32) -> Self {
        if uid == 0 {
            return self;
        }
        Self { effective: self.effective & self.ambient, permitted: self.permitted & self.ambient, ..self }
    }

    /// Gives up, for good, what is not in the bounding set.
    ///
    /// # Errors
    /// The kernel's.
    pub fn drop_bounding(&self) -> Result<()> {
        for capability in 0..u64::BITS {
            if self.bounding & 1 << capability != 0 {
                continue;
            }
            match command(libc::PR_CAPBSET_DROP, capability.into(), 0) {
                // The kernel's last capability is behind us.
                Err(Errno::EINVAL) => return Ok(()),
                dropped => dropped.context(|| format!("cannot drop capability {capability}"))?,
            }
        }
        Ok(())
    }

    /// Sets all the others.
    ///
    /// # Errors
    /// The kernel's.
    pub fn apply(&self) -> Result<()> {
        self.set().context(|| format!("cannot set the capabilities {self:x?}"))?;
        for capability in (0..u64::BITS).filter(|capability| self.ambient & 1 << capability != 0) {
            let raised = command(libc::PR_CAP_AMBIENT, raise(), capability.into());
            raised.context(|| format!("cannot make capability {capability} ambient"))?;
        }
        Ok(())
    }

    fn set(&self) -> nix::Result<()> {
        let halves = |half: fn(u64) -> u32| [half(self.effective), half(self.permitted), half(self.inheritable)];
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the mask")]
        let data: [[u32; 3]; 2] = [halves(|mask| mask as u32), halves(|mask| (mask >> 32) as u32)];
        let header = [VERSION, 0];
        // SAFETY: version 3 of the call reads a header of two words and data of two times three, which outlive it.
        let set = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
        Errno::result(set).map(drop)
    }
}

fn raise() -> libc::c_ulong {
    libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong
}

fn command(command: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> nix::Result<()> {
    let nothing: libc::c_ulong = 0;
    // SAFETY: the commands used here take numbers only.
    let done = unsafe { libc::prctl(command, first, second, nothing, nothing) };
    Errno::result(done).map(drop)
}

fn mask(names: &[String]) -> Result<u64> {
    names.iter().try_fold(0, |mask, name| {
        let bare = name.strip_prefix("CAP_").unwrap_or(name);
        let number = NAMES.iter().position(|one| *one == bare);
        number
            .map(|number| mask | 1 << number)
            .ok_or_else(|| invalid(format!("there is no capability {}", quote(name))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_the_kernels_bits() {
        let sets = serde_json::from_str(
            r#"{"bounding":["CAP_CHOWN","CAP_KILL"],"effective":["CAP_CHECKPOINT_RESTORE"],"permitted":["CAP_MKNOD"]}"#,
        )
        .unwrap();
        let sets = CapabilitySets::new(&sets).unwrap();
        let expected =
            CapabilitySets { bounding: 0x21, effective: 1 << 40, permitted: 1 << 27, inheritable: 0, ambient: 0 };
        assert_eq!(sets, expected);
        assert_eq!(sets.of_user(0), sets);
        assert_eq!(sets.of_user(1), CapabilitySets { effective: 0, permitted: 0, ..expected });
        let ambient = CapabilitySets { ambient: 1 << 27, ..expected };
        assert_eq!(ambient.of_user(1).permitted, 1 << 27);
    }
}
