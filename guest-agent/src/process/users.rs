//! Users and groups by the image's `/etc/passwd` and `/etc/group` (passwd(5), group(5)), after Docker's rules for
//! `--user`. The files are the image's: anything may stand in them.

use super::read_image_file;
use crate::error::{Result, failure, quote};
use hull_protocol::agent::{AgentError, ErrorCode};
use std::path::Path;
use std::str::FromStr;

/// The most of such a file that is read: about a hundred thousand entries.
const LARGEST_FILE: u64 = 8 << 20;

/// The largest id that can be given as a number.
const LARGEST_ID: u32 = i32::MAX as u32;

/// What a user or group name may hold; a longer one is in no file.
const LONGEST_NAME: usize = 256;

/// `[name|uid][:group|gid]`; nothing stands for root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserName {
    user: String,
    group: String,
}

impl FromStr for UserName {
    type Err = AgentError;

    fn from_str(text: &str) -> Result<Self> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        if user.len() > LONGEST_NAME || group.len() > LONGEST_NAME {
            return Err(unknown(format!("no user can be called {}", quote(text))));
        }
        Ok(Self { user: user.to_owned(), group: group.to_owned() })
    }
}

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub uid: u32,
    pub gid: u32,
    /// All groups, the first one being `gid`.
    pub groups: Vec<u32>,
    pub home: Vec<u8>,
}

/// Looks a user up in the files of the image.
pub(super) fn find(name: &UserName, passwd: &Path, group: &Path) -> Result<User> {
    let passwd = read_image_file(passwd, LARGEST_FILE)?;
    let (mut user, login) = find_user(name, &passwd.unwrap_or_default())?;
    if name.group.is_empty() && login.is_none() {
        user.groups.push(user.gid);
        return Ok(user);
    }
    let groups = read_image_file(group, LARGEST_FILE)?.unwrap_or_default();
    if name.group.is_empty() {
        let member = login.unwrap_or_default();
        user.groups.push(user.gid);
        for gid in lines(&groups).filter_map(|fields| membership(&fields, &member)) {
            if !user.groups.contains(&gid) {
                user.groups.push(gid);
            }
        }
    } else {
        user.gid = find_group(&name.group, &groups)?;
        user.groups.push(user.gid);
    }
    Ok(user)
}

/// The user without groups, and the name by which the group file knows it.
fn find_user(name: &UserName, passwd: &[u8]) -> Result<(User, Option<Vec<u8>>)> {
    let wanted = if name.user.is_empty() { "0" } else { &name.user };
    let number = wanted.parse::<u32>().ok().filter(|_| wanted.bytes().all(|byte| byte.is_ascii_digit()));
    for fields in lines(passwd) {
        let [login, _, uid, gid, _, home, ..] = fields.as_slice() else { continue };
        let (Some(uid), Some(gid)) = (id(uid), id(gid)) else { continue };
        if *login == wanted.as_bytes() || number == Some(uid) {
            let home = if home.is_empty() { b"/".as_slice() } else { home };
            let user = User { uid, gid, groups: Vec::new(), home: home.to_owned() };
            return Ok((user, Some((*login).to_owned())));
        }
    }
    match number.filter(|number| *number <= LARGEST_ID) {
        Some(uid) => Ok((User { uid, gid: 0, groups: Vec::new(), home: b"/".to_vec() }, None)),
        None => Err(unknown(format!("the image's /etc/passwd has no user {}", quote(wanted)))),
    }
}

fn find_group(wanted: &str, groups: &[u8]) -> Result<u32> {
    let number = wanted.parse::<u32>().ok().filter(|_| wanted.bytes().all(|byte| byte.is_ascii_digit()));
    let found = lines(groups).find_map(|fields| match fields.as_slice() {
        [name, _, gid, ..] => id(gid).filter(|gid| *name == wanted.as_bytes() || number == Some(*gid)),
        _ => None,
    });
    let found = found.or(number.filter(|number| *number <= LARGEST_ID));
    found.ok_or_else(|| unknown(format!("the image's /etc/group has no group {}", quote(wanted))))
}

/// The group of this line, if the user is a member.
fn membership(fields: &[&[u8]], member: &[u8]) -> Option<u32> {
    match fields {
        [_, _, gid, members, ..] => id(gid).filter(|_| members.split(|byte| *byte == b',').any(|one| one == member)),
        _ => None,
    }
}

/// The fields of each line that is not a comment.
fn lines(file: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && line[0] != b'#').map(|line| line.split(|byte| *byte == b':').collect())
}

fn id(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

fn unknown(message: String) -> AgentError {
    failure(ErrorCode::UnknownUser, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # comment\n\
        daemon:x:1:1:daemon:/usr/sbin:\n\
        www:x:33:33::/var/www:/bin/false\r\n\
        5:x:77:78::/five:\n\
        broken\n\
        bad:x:notanumber:0::/bad:\n\
        \xff\xfe:x:200:200::/\xff:\n";
    const GROUP: &[u8] =
        b"root:x:0:\nwww:x:33:\nadm:x:4:www,daemon\nssl:x:101:daemon,www\nxadm:x:5:xwww\nbroken:x\nwww2:x:33:www\n";

    fn find_in(name: &str, passwd: &[u8], group: &[u8]) -> Result<User> {
        let directory = tempfile::tempdir().unwrap();
        let (passwd_path, group_path) = (directory.path().join("passwd"), directory.path().join("group"));
        std::fs::write(&passwd_path, passwd).unwrap();
        std::fs::write(&group_path, group).unwrap();
        find(&name.parse()?, &passwd_path, &group_path)
    }

    fn found(name: &str) -> (u32, u32, Vec<u32>, String) {
        let user = find_in(name, PASSWD, GROUP).unwrap();
        (user.uid, user.gid, user.groups, String::from_utf8_lossy(&user.home).into_owned())
    }

    #[test]
    fn names_numbers_and_nothing() {
        assert_eq!(found(""), (0, 0, vec![0], "/root".to_owned()));
        assert_eq!(found("root"), (0, 0, vec![0], "/root".to_owned()));
        assert_eq!(found("www"), (33, 33, vec![33, 4, 101], "/var/www".to_owned()));
        assert_eq!(found("33"), (33, 33, vec![33, 4, 101], "/var/www".to_owned()));
        assert_eq!(found("1000"), (1000, 0, vec![0], "/".to_owned()));
        assert_eq!(found("5"), (77, 78, vec![78], "/five".to_owned()), "a name that looks like a number is a name");
    }

    #[test]
    fn a_group_that_is_given_is_the_only_one() {
        assert_eq!(found("www:adm"), (33, 4, vec![4], "/var/www".to_owned()));
        assert_eq!(found("www:2000"), (33, 2000, vec![2000], "/var/www".to_owned()));
        assert_eq!(found(":ssl"), (0, 101, vec![101], "/root".to_owned()));
        assert_eq!(found("1000:1000"), (1000, 1000, vec![1000], "/".to_owned()));
        assert_eq!(found("www:"), (33, 33, vec![33, 4, 101], "/var/www".to_owned()));
    }

    #[test]
    fn what_is_not_there_is_unknown() {
        for bad in
            ["nobody", "bad", "broken", "-1", "+5", "4294967296", "2147483648", "www:nogroup", "www:-1", "1:4294967296"]
        {
            let error = find_in(bad, PASSWD, GROUP).unwrap_err();
            assert_eq!(error.code, ErrorCode::UnknownUser, "{bad}");
        }
        assert!("x".repeat(1000).parse::<UserName>().is_err());
    }

    #[test]
    fn images_without_the_files_know_numbers_only() {
        let nowhere = Path::new("/nonexistent/passwd");
        let user = find(&"1000:5".parse().unwrap(), nowhere, nowhere).unwrap();
        assert_eq!((user.uid, user.gid, user.home.as_slice()), (1000, 5, b"/".as_slice()));
        let user = find(&UserName::default(), nowhere, nowhere).unwrap();
        assert_eq!((user.uid, user.gid, user.groups, user.home.as_slice()), (0, 0, vec![0], b"/".as_slice()));
        assert!(find(&"www".parse().unwrap(), nowhere, nowhere).is_err());
    }

    #[test]
    fn hostile_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("passwd");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(find(&UserName::default(), &fifo, &fifo).is_err(), "and it does not wait for a writer");
        assert!(find(&UserName::default(), directory.path(), directory.path()).is_err());
        let large = directory.path().join("large");
        std::fs::File::create(&large).unwrap().set_len(LARGEST_FILE + 1).unwrap();
        assert!(find(&UserName::default(), &large, &large).is_err());
        let user = find_in("1", &b":".repeat(100_000), b"\0\n:::\n").unwrap();
        assert_eq!(user.uid, 1);
    }
}
