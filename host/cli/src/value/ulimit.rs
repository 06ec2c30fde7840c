//! `--ulimit NAME=SOFT[:HARD]` (getrlimit(2)); -1 is no limit.

use hull_state::Ulimit;

/// The limits that there are, by Docker's names.
const NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A limit.
pub fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is not NAME=SOFT[:HARD]"))?;
    if !NAMES.contains(&name) {
        return Err(format!("unknown limit '{name}': there are {}", NAMES.join(", ")));
    }
    let limit = |text: &str| match text.parse::<i64>() {
        Ok(limit) if limit >= -1 => Ok(limit),
        _ => Err(format!("'{text}' is not a limit: expected a number, or -1 for none")),
    };
    let (soft, hard) = match value.split_once(':') {
        Some((soft, hard)) => (limit(soft)?, limit(hard)?),
        None => (limit(value)?, limit(value)?),
    };
    let above = hard != -1 && (soft == -1 || soft > hard);
    if above {
        return Err(format!("the soft limit must not be above the hard limit: {soft} > {hard}"));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_and_hard_limits_are_read() {
        let read = |text| ulimit(text).map(|limit| (limit.soft, limit.hard));
        assert_eq!(read("nofile=1024:2048"), Ok((1024, 2048)));
        assert_eq!(read("nofile=1024"), Ok((1024, 1024)));
        assert_eq!(read("core=-1"), Ok((-1, -1)));
        assert_eq!(read("memlock=5:-1"), Ok((5, -1)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "nofile", "nofile=", "nofile=x", "nofile=1:2:3", "bogus=1", "nofile=2:1", "nofile=-1:5", "nofile=-2"]
        {
            assert!(ulimit(text).is_err(), "{text}");
        }
    }
}
