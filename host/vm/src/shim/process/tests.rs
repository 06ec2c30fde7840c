//! A process without a guest: what its clients see is tested with the whole shim.

use super::*;
use std::io::Write;

const PATIENCE: Patience = Patience { quiet: Duration::from_millis(100), total: Duration::from_millis(400) };
const EXIT: Exit = Exit { code: 0, oom_killed: false, error: None };

#[test]
fn a_writer_that_is_stuck_in_standard_input_is_freed_by_the_end() {
    let process = Process::new(None, None);
    let (here, _guest) = LocalStream::pair().unwrap();
    process.set_stdin(here);
    let mut stdin = process.stdin().unwrap();
    std::thread::scope(|scope| {
        let stuck = scope.spawn(move || stdin.write_all(&vec![0; 16 << 20]));
        process.exited(EXIT);
        process.wait(PATIENCE);
        assert!(stuck.join().unwrap().is_err());
    });
}

#[test]
fn streams_that_never_end_are_cut_off() {
    let process = Arc::new(Process::new(None, None));
    let (here, guest) = LocalStream::pair().unwrap();
    process.pump(here, Kind::Stdout).unwrap();
    process.exited(EXIT);
    std::thread::scope(|scope| {
        // A guest that goes on and on does not keep us either.
        let endless = scope.spawn(move || while (&guest).write_all(&[0; 65536]).is_ok() {});
        process.wait(PATIENCE);
        endless.join().unwrap();
    });
}

#[test]
fn the_first_word_on_its_end_counts_and_late_clients_hear_it() {
    let process = Process::new(None, None);
    assert!(process.exited(Exit { code: 4, ..EXIT }));
    assert!(!process.exited(EXIT));
    assert_eq!(process.wait(PATIENCE).code, 4);
    let ended = Ended { code: 4, reason: None };
    process.finish(&ended);
    let late = Client { outbox: Arc::default(), stdout: true, stderr: true };
    process.attach(late.clone());
    assert_eq!(late.outbox.next(), Some(crate::shim::outbox::Item::Ended(ended)));
}
