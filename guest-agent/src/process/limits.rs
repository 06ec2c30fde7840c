//! Resource limits (getrlimit(2)).

use crate::document::Rlimit;
use crate::error::{Context, Result, invalid, quote};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

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
    /// A soft limit above the hard one, or an unknown name.
    pub fn new(limit: &Rlimit) -> Result<Self> {
        let Rlimit { kind, soft, hard } = limit;
        if soft > hard {
            return Err(invalid(format!("the soft limit {soft} of {} is above the hard one, {hard}", quote(kind))));
        }
        let resource = resource(kind).ok_or_else(|| invalid(format!("there is no limit {}", quote(kind))))?;
        Ok(Self { resource, soft: *soft, hard: *hard })
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

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_CPU" => Resource::RLIMIT_CPU,
        "RLIMIT_FSIZE" => Resource::RLIMIT_FSIZE,
        "RLIMIT_DATA" => Resource::RLIMIT_DATA,
        "RLIMIT_STACK" => Resource::RLIMIT_STACK,
        "RLIMIT_CORE" => Resource::RLIMIT_CORE,
        "RLIMIT_RSS" => Resource::RLIMIT_RSS,
        "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
        "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLIMIT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "RLIMIT_AS" => Resource::RLIMIT_AS,
        "RLIMIT_LOCKS" => Resource::RLIMIT_LOCKS,
        "RLIMIT_SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        "RLIMIT_MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => Resource::RLIMIT_NICE,
        "RLIMIT_RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => Resource::RLIMIT_RTTIME,
        _ => return None,
    })
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
        assert!(limit(r#"{"type":"RLIMIT_FUN","soft":1,"hard":1}"#).unwrap_err().message.contains("RLIMIT_FUN"));
    }
}
