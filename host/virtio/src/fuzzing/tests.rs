//! Every input that is kept still does no harm.

use std::fs;
use std::path::Path;

fn replay(target: &str, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display())) {
        let path = entry.unwrap().path();
        run(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} has inputs", corpus.display());
    run(&[]);
}

#[test]
fn queue() {
    replay("queue", super::queue);
}

#[test]
fn registers() {
    replay("registers", super::registers);
}

#[test]
fn block() {
    replay("block", super::block);
}

#[test]
fn vsock() {
    replay("vsock", super::vsock);
}

#[test]
fn console() {
    replay("console", super::console);
}

#[test]
fn balloon() {
    replay("balloon", super::balloon);
}

#[test]
fn vsock_rings() {
    replay("vsock_rings", super::vsock_rings);
}
