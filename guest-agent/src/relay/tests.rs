use super::*;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use nix::unistd::pipe2;
use std::fs::File;
use std::io::{Read, Write};

fn sockets() -> (OwnedFd, File) {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap();
    unblock(&ours);
    (ours, theirs.into())
}

fn unblock(descriptor: &impl AsFd) {
    fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
}

/// Reading end, writing end.
fn pipes() -> (File, File) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    (reader.into(), writer.into())
}

/// As the agent's loop does it, but by polling.
fn run(relay: &mut Relay) -> Progress {
    loop {
        match relay.advance(true) {
            Progress::Blocked => {
                let watched = relay.descriptors().map(|fd| PollFd::new(fd, PollFlags::POLLIN));
                poll(&mut { watched }, PollTimeout::from(1_u8)).unwrap();
            }
            Progress::Unfinished => {}
            ended => return ended,
        }
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

#[test]
fn output_arrives_whole_and_in_order_and_ends() {
    let (reader, mut writer) = pipes();
    let (socket, mut host) = sockets();
    let mut relay = Relay::output(reader.into(), socket);
    let sent = pattern(3 << 20);
    let expected = sent.clone();
    let process = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let host = std::thread::spawn(move || {
        let mut got = Vec::new();
        host.read_to_end(&mut got).unwrap();
        got
    });
    assert_eq!(run(&mut relay), Progress::Ended);
    drop(relay);
    process.join().unwrap();
    assert!(host.join().unwrap() == expected);
}

#[test]
fn input_arrives_whole_and_its_end_too() {
    let (mut reader, writer) = pipes();
    unblock(&writer);
    let (socket, mut host) = sockets();
    let mut relay = Relay::input(socket, writer.into());
    let sent = pattern(3 << 20);
    let expected = sent.clone();
    let host = std::thread::spawn(move || {
        host.write_all(&sent).unwrap();
        shutdown(host.as_raw_fd(), Shutdown::Write).unwrap();
        host
    });
    let process = std::thread::spawn(move || {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        got
    });
    assert_eq!(run(&mut relay), Progress::Ended);
    drop(relay);
    assert!(process.join().unwrap() == expected);
    assert_eq!(host.join().unwrap().read(&mut [0]).unwrap(), 0);
}

#[test]
fn nothing_is_buffered_for_a_reader_that_does_not_read() {
    let (reader, mut writer) = pipes();
    unblock(&writer);
    let (socket, mut host) = sockets();
    let mut relay = Relay::output(reader.into(), socket);
    let piece = pattern(4096);
    let mut accepted = 0;
    for _ in 0..10_000 {
        if let Ok(count) = writer.write(&piece) {
            accepted += count;
        } else if relay.advance(false) == Progress::Blocked && writer.write(&[]).is_ok() {
            break;
        }
        relay.advance(false);
    }
    assert!(accepted < 2 << 20, "{accepted}");
    drop(writer);
    let host = std::thread::spawn(move || {
        let mut got = Vec::new();
        host.read_to_end(&mut got).unwrap();
        got.len()
    });
    assert_eq!(run(&mut relay), Progress::Ended);
    drop(relay);
    assert_eq!(host.join().unwrap(), accepted);
}

#[test]
fn input_ends_when_the_process_has_closed_it_though_nothing_is_sent() {
    let (reader, writer) = pipes();
    let (socket, _host) = sockets();
    let mut relay = Relay::input(socket, writer.into());
    assert_eq!(relay.advance(false), Progress::Blocked);
    drop(reader);
    assert_eq!(relay.advance(true), Progress::Ended);
}

#[test]
fn output_ends_when_the_host_is_gone() {
    let (reader, mut writer) = pipes();
    let (socket, host) = sockets();
    let mut relay = Relay::output(reader.into(), socket);
    drop(host);
    writer.write_all(b"x").unwrap();
    assert_eq!(relay.advance(true), Progress::Ended);
    drop(relay);
    assert!(writer.write_all(b"x").is_err(), "the process gets EPIPE");
}

#[test]
fn connections_in_the_making_and_failed_ones_are_told_apart() {
    use nix::sys::socket::{SockaddrIn, bind, connect, getsockname, socket};
    // A port that was bound and let go: nobody listens there.
    let taken = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
    bind(taken.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    let address: SockaddrIn = getsockname(taken.as_raw_fd()).unwrap();
    let (reader, mut writer) = pipes();
    writer.write_all(b"x").unwrap();
    let stream = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
    let (_keep, input) = pipes();
    let mut relay = Relay::input(stream, input.into());
    assert_eq!(relay.advance(false), Progress::Blocked, "not even begun");
    let Relay(Kind::Input { socket: stream, .. }) = relay else { unreachable!() };
    let begun = connect(stream.as_raw_fd(), &address);
    assert!(matches!(begun, Err(Errno::EINPROGRESS | Errno::ECONNREFUSED)), "{begun:?}");
    let mut relay = Relay::output(reader.into(), stream);
    if begun == Err(Errno::EINPROGRESS) {
        let [_, stream] = relay.descriptors();
        poll(&mut [PollFd::new(stream, PollFlags::POLLOUT)], PollTimeout::NONE).unwrap();
        assert!(matches!(relay.advance(true), Progress::NotConnected(_) | Progress::Ended));
    }
}

fn raw_pty() -> (OwnedFd, File) {
    let pty = openpty(None, None).unwrap();
    unblock(&pty.master);
    let mut modes = nix::sys::termios::tcgetattr(&pty.slave).unwrap();
    nix::sys::termios::cfmakeraw(&mut modes);
    nix::sys::termios::tcsetattr(&pty.slave, nix::sys::termios::SetArg::TCSANOW, &modes).unwrap();
    (pty.master, pty.slave.into())
}

#[test]
fn terminal_moves_both_ways_and_ends_when_the_last_process_closes_it() {
    let (master, mut slave) = raw_pty();
    let (socket, mut host) = sockets();
    let mut relay = Relay::terminal(socket, master);
    let sent = pattern(300_000);
    let expected = sent.clone();
    let process = std::thread::spawn(move || {
        let mut line = [0; 5];
        slave.read_exact(&mut line).unwrap();
        slave.write_all(&sent).unwrap();
        line
    });
    let host = std::thread::spawn(move || {
        host.write_all(b"hello").unwrap();
        // The end of the host's direction does not end the process's input.
        shutdown(host.as_raw_fd(), Shutdown::Write).unwrap();
        let mut got = Vec::new();
        host.read_to_end(&mut got).unwrap();
        got
    });
    assert_eq!(run(&mut relay), Progress::Ended);
    drop(relay);
    assert_eq!(process.join().unwrap(), *b"hello");
    assert!(host.join().unwrap() == expected);
}

#[test]
fn terminal_hangs_up_when_the_host_is_gone_and_has_a_size() {
    let (master, mut slave) = raw_pty();
    let (socket, host) = sockets();
    let mut relay = Relay::terminal(socket, master);
    assert!(relay.resize(TerminalSize { rows: 50, columns: 132 }));
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize`.
    assert_eq!(unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }, 0);
    assert_eq!((size.ws_row, size.ws_col), (50, 132));
    drop(host);
    slave.write_all(b"x").unwrap();
    assert_eq!(relay.advance(true), Progress::Ended);
    drop(relay);
    assert!(slave.write_all(b"x").is_err(), "hung up");
    let (reader, _writer) = pipes();
    assert!(!Relay::output(reader.into(), sockets().0).resize(TerminalSize { rows: 1, columns: 1 }));
}
