//! Resource limits (getrlimit(2)).

use crate::error::{Context, Result, invalid};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use oci_spec::runtime::{PosixRlimit, PosixRlimitType};

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    resource: Resource,
    soft: u64,
    hard: u64,
}

impl Limit {
    /// Checks a limit of the runtime specification.
    ///
    /// # Errors
    /// A soft limit above the hard one.
    pub fn new(limit: &PosixRlimit) -> Result<Self> {
        let (soft, hard) = (limit.soft(), limit.hard());
        if soft > hard {
            return Err(invalid(format!("the soft limit {soft} of {} is above the hard one, {hard}", limit.typ())));
        }
        Ok(Self { resource: resource(limit.typ()), soft, hard })
    }

    /// Puts it into force for the caller.
    ///
    /// # Errors
    /// The kernel's.
    pub fn apply(&self) -> Result<()> {
        setrlimit(self.resource, self.soft, self.hard).context(|| format!("cannot set the limit {self:?}"))
    }
}

/// Raises the caller's hard limits as far as `limits` will need it: in a user namespace nobody could.
///
/// # Errors
/// The kernel's.
pub fn raise_hard_limits(limits: &[Limit]) -> Result<()> {
    limits.iter().try_for_each(|limit| {
        let raised =
            getrlimit(limit.resource).and_then(|(soft, hard)| setrlimit(limit.resource, soft, hard.max(limit.hard)));
        raised.context(|| format!("cannot raise the limit {limit:?}"))
    })
}

fn resource(name: PosixRlimitType) -> Resource {
    match name {
        PosixRlimitType::RlimitCpu => Resource::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => Resource::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => Resource::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => Resource::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => Resource::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => Resource::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => Resource::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => Resource::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => Resource::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => Resource::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => Resource::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => Resource::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => Resource::RLIMIT_RTTIME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(json: &str) -> Result<Limit> {
        Limit::new(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn limits_are_checked() {
        let files = limit(r#"{"type":"RLIMIT_NOFILE","soft":1024,"hard":4096}"#).unwrap();
        assert_eq!(files, Limit { resource: Resource::RLIMIT_NOFILE, soft: 1024, hard: 4096 });
        assert!(limit(r#"{"type":"RLIMIT_CORE","soft":18446744073709551615,"hard":18446744073709551615}"#).is_ok());
        assert!(limit(r#"{"type":"RLIMIT_CORE","soft":2,"hard":1}"#).unwrap_err().message.contains("above"));
    }
}
