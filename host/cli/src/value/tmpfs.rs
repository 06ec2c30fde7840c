//! `--tmpfs PATH[:OPTIONS]`, options as in mount(8), with commas.

use hull_state::Tmpfs;

/// The flags and keys that the guest understands.
const FLAGS: [&str; 14] = [
    "ro",
    "rw",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "sync",
    "async",
    "atime",
    "noatime",
    "relatime",
    "strictatime",
];
const KEYS: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];

/// A mount.
pub fn tmpfs(text: &str) -> Result<Tmpfs, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') || target.trim_end_matches('/').is_empty() {
        return Err(format!("invalid mount path: '{target}' must be absolute, and not the root"));
    }
    if target.split('/').any(|part| part == "..") {
        return Err(format!("invalid mount path: '{target}' must not contain '..'"));
    }
    let options: Vec<String> = options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
    if let Some(unknown) = options.iter().find(|option| !is_known(option)) {
        return Err(format!("invalid tmpfs option: '{unknown}'"));
    }
    Ok(Tmpfs { target: target.to_owned(), options })
}

fn is_known(option: &str) -> bool {
    match option.split_once('=') {
        Some((key, value)) => KEYS.contains(&key) && !value.is_empty(),
        None => FLAGS.contains(&option),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_options_are_read() {
        let mount = tmpfs("/run:rw,size=64m,mode=1777").unwrap();
        assert_eq!((mount.target.as_str(), mount.options.join(" ").as_str()), ("/run", "rw size=64m mode=1777"));
        assert!(tmpfs("/run").unwrap().options.is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "run", "/", "//", "/a/../b", "/run:bogus", "/run:size=", "/run:size"] {
            assert!(tmpfs(text).is_err(), "{text}");
        }
    }
}
