//! Capabilities (capabilities(7)): Docker's default set, and what `--cap-add`, `--cap-drop` and `--privileged` make
//! of it.

use oci_spec::runtime::{Capabilities, Capability};
use std::str::FromStr;

/// What a container gets when nothing is said.
const DEFAULT: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// All that Linux 6.12 knows.
const ALL: [Capability; 41] = [
    Capability::AuditControl,
    Capability::AuditRead,
    Capability::AuditWrite,
    Capability::BlockSuspend,
    Capability::Bpf,
    Capability::CheckpointRestore,
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::Kill,
    Capability::Lease,
    Capability::LinuxImmutable,
    Capability::MacAdmin,
    Capability::MacOverride,
    Capability::Mknod,
    Capability::NetAdmin,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetRaw,
    Capability::Perfmon,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysChroot,
    Capability::SysModule,
    Capability::SysNice,
    Capability::SysPacct,
    Capability::SysPtrace,
    Capability::SysRawio,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Syslog,
    Capability::WakeAlarm,
];

/// A name that is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {flag}: unknown capability: {name:?}")]
pub struct CapabilityError {
    flag: &'static str,
    name: String,
}

enum Named {
    All,
    One(Capability),
}

/// The capabilities of a container's processes.
///
/// # Errors
/// A name that is no capability.
pub fn effective(add: &[String], drop: &[String], privileged: bool) -> Result<Capabilities, CapabilityError> {
    let add = add.iter().map(|name| parse("--cap-add", name)).collect::<Result<Vec<_>, _>>()?;
    let drop = drop.iter().map(|name| parse("--cap-drop", name)).collect::<Result<Vec<_>, _>>()?;
    if privileged {
        return Ok(ALL.into_iter().collect());
    }
    let ones = |named: &[Named]| {
        named.iter().filter_map(|named| if let Named::One(one) = named { Some(*one) } else { None }).collect::<Vec<_>>()
    };
    let any_all = |named: &[Named]| named.iter().any(|named| matches!(named, Named::All));
    // As Docker: `--cap-drop ALL` clears everything but what is added by name; `--cap-add ALL` then drops by name.
    let mut set: Capabilities = match (any_all(&add), any_all(&drop)) {
        (true, _) => ALL.into_iter().collect(),
        (false, true) => Capabilities::new(),
        (false, false) => DEFAULT.into_iter().collect(),
    };
    if any_all(&add) || !any_all(&drop) {
        for one in ones(&drop) {
            set.remove(&one);
        }
    }
    set.extend(ones(&add));
    Ok(set)
}

fn parse(flag: &'static str, name: &str) -> Result<Named, CapabilityError> {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(Named::All);
    }
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let unknown = |_| CapabilityError { flag, name: name.to_owned() };
    Capability::from_str(bare).map(Named::One).map_err(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(add: &[&str], drop: &[&str], privileged: bool) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let set = effective(&owned(add), &owned(drop), privileged).unwrap();
        let mut names: Vec<_> = set.iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn default_is_dockers_fourteen() {
        let expected = [
            "AUDIT_WRITE",
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "FSETID",
            "KILL",
            "MKNOD",
            "NET_BIND_SERVICE",
            "NET_RAW",
            "SETFCAP",
            "SETGID",
            "SETPCAP",
            "SETUID",
            "SYS_CHROOT",
        ];
        assert_eq!(names(&[], &[], false), expected);
    }

    #[test]
    fn flags_add_and_drop_in_every_spelling() {
        assert!(names(&["sys_admin"], &[], false).contains(&"SYS_ADMIN".to_owned()));
        assert!(names(&["CAP_SYS_ADMIN"], &[], false).contains(&"SYS_ADMIN".to_owned()));
        assert!(!names(&[], &["Cap_Chown"], false).contains(&"CHOWN".to_owned()));
        assert_eq!(names(&[], &["ALL"], false), Vec::<String>::new());
        assert_eq!(names(&["KILL"], &["all"], false), ["KILL"]);
        assert_eq!(names(&["ALL"], &[], false).len(), ALL.len());
        assert_eq!(names(&["ALL"], &["KILL"], false).len(), ALL.len() - 1);
        assert_eq!(names(&[], &["ALL"], true).len(), ALL.len());
    }

    #[test]
    fn unknown_names_are_refused_with_their_flag() {
        let error = effective(&["CAP_NONSENSE".to_owned()], &[], false).unwrap_err();
        assert_eq!(error.to_string(), "invalid --cap-add: unknown capability: \"CAP_NONSENSE\"");
        assert!(effective(&[], &["x".to_owned()], true).is_err());
    }
}
