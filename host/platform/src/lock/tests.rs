use super::*;
use crate::process::{Spawn, Stdio};
use crate::socket::LocalStream;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

#[test]
fn a_lock_excludes_until_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    assert!(!FileLock::is_held(&path).unwrap());
    let lock = FileLock::try_acquire(&path).unwrap().unwrap();
    assert!(FileLock::try_acquire(&path).unwrap().is_none());
    assert!(FileLock::is_held(&path).unwrap());
    drop(lock);
    assert!(!FileLock::is_held(&path).unwrap());
    drop(FileLock::acquire(&path).unwrap());
    let missing = FileLock::try_acquire(&dir.path().join("no/lock")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn waiting_threads_have_the_lock_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let inside = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let _lock = FileLock::acquire(&path).unwrap();
                    assert!(!inside.swap(true, Ordering::SeqCst));
                    inside.store(false, Ordering::SeqCst);
                }
            });
        }
    });
}

#[test]
fn who_waits_for_a_lock_that_is_removed_learns_it() {
    let dir = tempfile::tempdir().unwrap();
    let entry = dir.path().join("entry");
    fs::create_dir(&entry).unwrap();
    let path = entry.join("lock");
    let lock = FileLock::acquire(&path).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| FileLock::acquire(&path).map(drop));
        fs::rename(&entry, dir.path().join("gone")).unwrap();
        drop(lock);
        assert_eq!(waiter.join().unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_lock_that_is_handed_over_stays_taken_until_the_other_process_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let lock = FileLock::try_acquire(&path).unwrap().unwrap();
    let (mut ours, theirs) = LocalStream::pair().unwrap();
    let mut child =
        Spawn::new("cat").stdin(Stdio::Handle(theirs.into())).inherit(Handle::from(lock), 4).spawn().unwrap();
    // The lock went into `spawn`: this process has no owner of it any more.
    assert!(FileLock::is_held(&path).unwrap());
    assert!(FileLock::try_acquire(&path).unwrap().is_none());
    ours.write_all(b"x").unwrap();
    drop(ours);
    assert!(child.wait().unwrap().success());
    assert!(FileLock::try_acquire(&path).unwrap().is_some());
}

#[cfg(target_os = "linux")]
#[test]
fn asking_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    FileLock::is_held(&path).unwrap();
                }
            });
        }
        let failed = (0..2000).filter(|_| FileLock::try_acquire(&path).unwrap().is_none()).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0);
    });
}
