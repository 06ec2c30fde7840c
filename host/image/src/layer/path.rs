//! Paths in archives.

use super::EntryFault;
use crate::tree::Name;

/// The longest path: no program can name more to the kernel (PATH_MAX).
pub const MAX_PATH: usize = 4096;

/// The parts of an entry's path; none for the root directory. `.` and doubled slashes count for nothing.
pub fn parts(path: &[u8]) -> Result<Vec<Name>, EntryFault> {
    if path.len() > MAX_PATH {
        return Err(EntryFault::PathLength);
    }
    if path.first() == Some(&b'/') && path.iter().any(|byte| *byte != b'/') {
        return Err(EntryFault::Absolute);
    }
    if path.is_empty() {
        return Err(EntryFault::BadName);
    }
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).map(part).collect()
}

fn part(part: &[u8]) -> Result<Name, EntryFault> {
    if part == b".." {
        return Err(EntryFault::ParentDirectory);
    }
    let long = part.len() > crate::tree::MAX_NAME;
    Name::new(part).ok_or(if long { EntryFault::PathLength } else { EntryFault::BadName })
}

/// What the name of an entry means for the layers below.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// An entry like any other.
    Ordinary,
    /// The name in its directory is removed.
    Removes(Name),
    /// Nothing of its directory in the layers below remains.
    Opaque,
    /// AUFS kept records of its own in files: they belong to no image.
    Ignored,
}

const WHITEOUT: &[u8] = b".wh.";
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a path means for the layers below.
pub fn meaning(path: &[Name]) -> Result<Meaning, EntryFault> {
    let Some((last, above)) = path.split_last() else { return Ok(Meaning::Ordinary) };
    if above.iter().any(|name| name.as_bytes().starts_with(AUFS)) {
        return Ok(Meaning::Ignored);
    }
    if above.iter().any(|name| name.as_bytes().starts_with(WHITEOUT)) {
        return Err(EntryFault::Whiteout);
    }
    match last.as_bytes() {
        OPAQUE => Ok(Meaning::Opaque),
        name if name.starts_with(AUFS) => Ok(Meaning::Ignored),
        name => match name.strip_prefix(WHITEOUT) {
            Some(removed) => Name::new(removed).map(Meaning::Removes).ok_or(EntryFault::Whiteout),
            None => Ok(Meaning::Ordinary),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(path: &[u8]) -> Result<String, EntryFault> {
        Ok(parts(path)?.iter().map(|name| String::from_utf8_lossy(name.as_bytes())).collect::<Vec<_>>().join("/"))
    }

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(joined(b"./usr//bin/./env"), Ok("usr/bin/env".to_owned()));
        assert_eq!(joined(b"etc/"), Ok("etc".to_owned()));
        assert_eq!(joined(b"./"), Ok(String::new()));
        assert_eq!(joined(b"/"), Ok(String::new()));
    }

    #[test]
    fn paths_out_of_the_tree_are_refused() {
        assert_eq!(joined(b"../x"), Err(EntryFault::ParentDirectory));
        assert_eq!(joined(b"a/../../x"), Err(EntryFault::ParentDirectory));
        assert_eq!(joined(b"a/.."), Err(EntryFault::ParentDirectory));
        assert_eq!(joined(b"/etc/passwd"), Err(EntryFault::Absolute));
        assert_eq!(joined(b"//x"), Err(EntryFault::Absolute));
        assert_eq!(joined(b""), Err(EntryFault::BadName));
        assert_eq!(joined(b"a\0b"), Err(EntryFault::BadName));
        assert_eq!(joined(&[b'x'; 256]), Err(EntryFault::PathLength));
        assert_eq!(joined(&b"x/".repeat(2049)), Err(EntryFault::PathLength));
    }

    fn meant(path: &str) -> Result<Meaning, EntryFault> {
        meaning(&parts(path.as_bytes()).unwrap())
    }

    #[test]
    fn whiteouts_are_told_by_their_names() {
        assert_eq!(meant("a/b"), Ok(Meaning::Ordinary));
        assert_eq!(meant("a/.wh.b"), Ok(Meaning::Removes(Name::new(b"b").unwrap())));
        assert_eq!(meant("a/.wh..wh..opq"), Ok(Meaning::Opaque));
        assert_eq!(meant(".wh..wh.plnk/1.2"), Ok(Meaning::Ignored));
        assert_eq!(meant(".wh..wh.aufs"), Ok(Meaning::Ignored));
        for bad in ["a/.wh.", "a/.wh..", "a/.wh...", ".wh.a/b"] {
            assert_eq!(meant(bad), Err(EntryFault::Whiteout), "{bad}");
        }
    }
}
