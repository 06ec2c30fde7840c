use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

fn with<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
    move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
}

#[test]
fn the_data_root_is_what_the_user_says_or_below_the_home_directory() {
    let root = |variables: &[_]| data_root_from(&with(variables)).unwrap();
    assert_eq!(root(&[("HULL_ROOT", "/srv/hull"), ("HOME", "/home/a")]), PathBuf::from("/srv/hull"));
    assert!(root(&[("HULL_ROOT", "relative")]).is_absolute());
    let home = root(&[("HOME", "/home/a")]);
    assert!(home.starts_with("/home/a") && home.ends_with("hull"), "{home:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_relative_xdg_directory_is_ignored() {
    let root = |data| data_root_from(&with(&[("HOME", "/home/a"), ("XDG_DATA_HOME", data)])).unwrap();
    assert_eq!(root("/data"), PathBuf::from("/data/hull"));
    assert_eq!(root("data"), PathBuf::from("/home/a/.local/share/hull"));
}

#[test]
fn the_runtime_directory_is_made_private_with_its_parents() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = dir.path().join("a/b");
    let made = runtime_dir_from(&with(&[("HULL_RUNTIME_DIR", wanted.to_str().unwrap())])).unwrap();
    assert_eq!(made, wanted);
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_session_directory_counts_only_if_it_is_the_users() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    assert_eq!(runtime_dir_from(&with(&[("XDG_RUNTIME_DIR", path)])).unwrap(), dir.path().join("hull"));
    let missing = dir.path().join("missing");
    let lookup = [("XDG_RUNTIME_DIR", missing.to_str().unwrap())];
    assert!(!sys::dirs::runtime_home(&with(&lookup)).unwrap().starts_with(&missing));
}

#[test]
fn a_runtime_directory_that_others_could_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let error = runtime_dir_from(&with(&[("HULL_RUNTIME_DIR", path.to_str().unwrap())])).unwrap_err();
        matches!(error, DirsError::Untrusted { .. })
    };
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    assert!(refused(&open));
    let link = dir.path().join("link");
    symlink(dir.path(), &link).unwrap();
    assert!(refused(&link));
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(refused(&file));
}
