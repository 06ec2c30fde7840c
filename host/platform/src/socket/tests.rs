use super::*;
use crate::event::Event;
use std::fs;
use std::io::{ErrorKind, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_listener_is_its_owners_alone_and_serves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    assert_eq!(LocalStream::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
    let listener = LocalListener::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(LocalListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    let mut client = LocalStream::connect(&path).unwrap();
    let mut server = listener.accept().unwrap();
    client.write_all(b"ping").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).unwrap();
    assert_eq!(text, "ping");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(listener);
    assert_eq!(LocalStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_path_that_is_too_long_is_named() {
    let path = Path::new("/tmp").join("x".repeat(120));
    for error in [LocalListener::bind(&path).unwrap_err(), LocalStream::connect(&path).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("too long"), "{error}");
    }
}

#[test]
fn handles_travel_with_the_bytes_that_carry_them() {
    let (ours, theirs) = LocalStream::pair().unwrap();
    let event = Event::new().unwrap();
    assert_eq!(ours.send_with_handles(b"one", &[event.as_fd()]).unwrap(), 3);
    assert_eq!(ours.send_with_handles(b"two", &[event.as_fd(), event.as_fd()]).unwrap(), 3);
    let mut bytes = [0; 64];
    let (count, handles) = theirs.recv_with_handles(&mut bytes).unwrap();
    assert_eq!((&bytes[..count], handles.len()), (&b"one"[..], 1));
    let (count, handles) = theirs.recv_with_handles(&mut bytes).unwrap();
    assert_eq!((&bytes[..count], handles.len()), (&b"two"[..], 2));
    for handle in handles {
        let flags = nix::fcntl::fcntl(&handle, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        Event::from(handle).signal().unwrap();
    }
    assert_eq!(event.clear().unwrap(), Some(2));
    drop(ours);
    let (count, handles) = theirs.recv_with_handles(&mut bytes).unwrap();
    assert_eq!((count, handles.len()), (0, 0));
}

#[test]
fn bytes_without_handles_and_plain_reads_mix_with_them() {
    let (mut ours, mut theirs) = LocalStream::pair().unwrap();
    ours.send_with_handles(b"ab", &[]).unwrap();
    ours.write_all(b"c").unwrap();
    let mut bytes = [0; 3];
    theirs.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"abc");
}

#[test]
fn at_most_sixteen_handles_are_sent() {
    let (ours, theirs) = LocalStream::pair().unwrap();
    let event = Event::new().unwrap();
    let kind = |bytes: &[u8], count| ours.send_with_handles(bytes, &vec![event.as_fd(); count]).unwrap_err().kind();
    assert_eq!(kind(b"x", MAX_HANDLES + 1), ErrorKind::InvalidInput);
    assert_eq!(kind(b"", 1), ErrorKind::InvalidInput);
    ours.send_with_handles(b"x", &[event.as_fd(); MAX_HANDLES]).unwrap();
    assert_eq!(theirs.recv_with_handles(&mut [0; 1]).unwrap().1.len(), MAX_HANDLES);
}

#[test]
fn too_many_handles_from_a_peer_are_an_error_and_all_are_closed() {
    for count in [MAX_HANDLES + 1, MAX_HANDLES + 2, 250] {
        let (ours, theirs) = LocalStream::pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        sys::socket::send(&ours.0, b"x", &vec![writer.as_fd(); count]).unwrap();
        let error = theirs.recv_with_handles(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        drop(writer);
        assert_ends(reader);
    }
}

#[test]
fn handles_that_a_plain_read_passes_over_are_closed() {
    let (ours, mut theirs) = LocalStream::pair().unwrap();
    let (reader, writer) = io::pipe().unwrap();
    ours.send_with_handles(b"x", &[writer.as_fd()]).unwrap();
    theirs.read_exact(&mut [0; 1]).unwrap();
    drop(writer);
    assert_ends(reader);
}

/// Nobody has the other end any more. A child that another test is about to execute may have it for an instant.
fn assert_ends(mut reader: PipeReader) {
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_read_does_not_wait_longer_than_it_may() {
    let (mut ours, _theirs) = LocalStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(ours.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    ours.set_nonblocking(true).unwrap();
    assert_eq!(ours.recv_with_handles(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn writing_to_a_peer_that_has_gone_is_an_error_and_no_signal() {
    let (ours, theirs) = LocalStream::pair().unwrap();
    drop(theirs);
    let none: &[BorrowedFd<'_>] = &[];
    assert_eq!(ours.send_with_handles(b"x", none).unwrap_err().kind(), ErrorKind::BrokenPipe);
}
