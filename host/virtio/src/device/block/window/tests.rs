//! How the locks of an extent stand to each other.

use super::*;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// The order of events in which a lock taken by a flush before the file's would end all three.
#[test]
fn a_write_a_flush_and_an_unmapping_do_not_wait_for_each_other() {
    let file = tempfile::tempfile().unwrap();
    let extent = Arc::new(Extent {
        range: RESERVED..2 * RESERVED,
        offset: 0,
        access: Access::ReadWrite,
        file: RwLock::new(Some(file)),
        durability: Mutex::new(Durability::Unsynced),
    });
    let (done, is_done) = channel();
    let start = |work: fn(&Extent)| {
        let (extent, done) = (Arc::clone(&extent), done.clone());
        thread::spawn(move || {
            work(&extent);
            done.send(()).unwrap();
        });
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    let (entered, has_entered) = channel();
    let (leave, may_leave) = channel::<()>();
    let (writer, written) = (Arc::clone(&extent), done.clone());
    thread::spawn(move || {
        let write = |_: &File, _| {
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
            writer.modify(|| Ok(()))
        };
        writer.with_file(RESERVED, write).unwrap();
        written.send(()).unwrap();
    });
    has_entered.recv().unwrap();
    start(|extent| *write(&extent.file) = None);
    while extent.file.try_read().is_ok() {
        assert!(Instant::now() < deadline, "an unmapping that waits keeps new readers out");
        thread::yield_now();
    }
    start(|extent| extent.flush(|_| Ok(())).expect("there is nothing to fail"));
    // A flush that went wrong would have the lock by now; one that goes right has nothing.
    let wrong = Instant::now() + Duration::from_millis(100);
    while extent.durability.try_lock().is_ok() && Instant::now() < wrong {
        thread::yield_now();
    }
    leave.send(()).unwrap();
    for _ in 0..3 {
        is_done.recv_timeout(Duration::from_secs(20)).expect("nobody waits for ever");
    }
}
