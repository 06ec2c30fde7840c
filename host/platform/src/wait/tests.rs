use super::*;
use crate::event::Event;
use crate::socket::LocalStream;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Instant;

/// Far beyond what a slow machine needs; a test that waits for it has failed.
const LONG: Option<Duration> = Some(Duration::from_secs(20));
const NOW: Option<Duration> = Some(Duration::ZERO);

#[test]
fn events_are_reported_until_they_are_cleared() {
    let (set, event) = (WaitSet::new().unwrap(), Event::new().unwrap());
    set.add(&event, 7, Interest::READ).unwrap();
    assert_eq!(set.wait(NOW).unwrap(), []);
    event.signal().unwrap();
    for _ in 0..2 {
        let ready = set.wait(LONG).unwrap();
        assert_eq!(ready, [Ready { token: 7, readable: true, writable: false, hangup: false }]);
    }
    event.clear().unwrap();
    assert_eq!(set.wait(NOW).unwrap(), []);
}

#[test]
fn a_wait_is_woken_by_another_thread_and_not_before_its_time() {
    let (set, event) = (WaitSet::new().unwrap(), Event::new().unwrap());
    set.add(&event, 1, Interest::READ).unwrap();
    let start = Instant::now();
    assert_eq!(set.wait(Some(Duration::from_millis(20))).unwrap(), []);
    assert!(start.elapsed() >= Duration::from_millis(20));
    std::thread::scope(|scope| {
        scope.spawn(|| event.signal().unwrap());
        assert_eq!(set.wait(LONG).unwrap().len(), 1);
    });
}

#[test]
fn both_directions_of_a_stream_are_told_apart() {
    let set = WaitSet::new().unwrap();
    let (mut ours, mut theirs) = LocalStream::pair().unwrap();
    set.add(&ours, 1, Interest::BOTH).unwrap();
    assert_eq!(set.wait(LONG).unwrap(), [Ready { token: 1, readable: false, writable: true, hangup: false }]);
    theirs.write_all(b"x").unwrap();
    assert_eq!(set.wait(LONG).unwrap(), [Ready { token: 1, readable: true, writable: true, hangup: false }]);
    set.modify(&ours, 2, Interest::READ).unwrap();
    assert_eq!(set.wait(LONG).unwrap(), [Ready { token: 2, readable: true, writable: false, hangup: false }]);
    let mut byte = [0];
    ours.read_exact(&mut byte).unwrap();
    // The end of one direction is something to be read.
    theirs.shutdown(Shutdown::Write).unwrap();
    let ready = set.wait(LONG).unwrap();
    assert!(ready[0].readable && !ready[0].hangup, "{ready:?}");
    assert_eq!(ours.read(&mut byte).unwrap(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_hangup_is_reported_whatever_was_asked() {
    let set = WaitSet::new().unwrap();
    let (ours, theirs) = LocalStream::pair().unwrap();
    set.add(&ours, 1, Interest::NONE).unwrap();
    assert_eq!(set.wait(NOW).unwrap(), []);
    drop(theirs);
    assert!(set.wait(LONG).unwrap()[0].hangup);
    let (reader, writer) = io::pipe().unwrap();
    set.remove(&ours).unwrap();
    set.add(&reader, 2, Interest::READ).unwrap();
    drop(writer);
    assert!(set.wait(LONG).unwrap()[0].hangup);
}

#[test]
fn more_than_one_batch_is_reported_in_turn() {
    let set = WaitSet::new().unwrap();
    let events: Vec<_> = (0..100).map(|_| Event::new().unwrap()).collect();
    for (token, event) in (0..).zip(&events) {
        event.signal().unwrap();
        set.add(event, token, Interest::READ).unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < events.len() {
        for ready in set.wait(LONG).unwrap() {
            events[usize::try_from(ready.token).unwrap()].clear().unwrap();
            assert!(seen.insert(ready.token));
        }
    }
    assert_eq!(set.wait(NOW).unwrap(), []);
}

#[cfg(target_os = "linux")]
#[test]
fn mistakes_are_errors() {
    let (set, event) = (WaitSet::new().unwrap(), Event::new().unwrap());
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(set.remove(&event)), io::ErrorKind::NotFound);
    assert_eq!(kind(set.modify(&event, 1, Interest::READ)), io::ErrorKind::NotFound);
    set.add(&event, 1, Interest::READ).unwrap();
    assert_eq!(kind(set.add(&event, 2, Interest::READ)), io::ErrorKind::AlreadyExists);
    let file = tempfile::tempfile().unwrap();
    assert_eq!(kind(set.add(&file, 3, Interest::READ)), io::ErrorKind::PermissionDenied);
}
