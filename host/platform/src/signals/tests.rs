use super::*;

#[test]
fn names_and_numbers_in_every_spelling_are_parsed() {
    let cases = [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigterm", 15),
        ("15", 15),
        ("KILL", 9),
        ("Hup", 1),
        ("IOT", 6),
        ("ABRT", 6),
        ("CLD", 17),
        ("POLL", 29),
        ("64", 64),
        ("32", 32),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("rtmin+30", 64),
        ("RTMAX", 64),
        ("RTMAX-2", 62),
        ("RTMAX-30", 34),
    ];
    for (text, number) in cases {
        assert_eq!(text.parse::<LinuxSignal>().map(LinuxSignal::number), Ok(number), "{text}");
    }
}

#[test]
fn what_is_no_signal_is_refused() {
    let cases = [
        "",
        "0",
        "65",
        "-1",
        "999",
        "SIG",
        "SIGSIGTERM",
        "TERM ",
        "FOO",
        "RTMIN+",
        "RTMIN-1",
        "RTMIN+31",
        "RTMAX+1",
        "RTMAX-31",
        "RTMIN++1",
        "RTMIN+256",
        "SIG15",
        "TÉRM",
    ];
    for text in cases {
        assert!(text.parse::<LinuxSignal>().is_err(), "{text}");
    }
    assert_eq!("NOPE".parse::<LinuxSignal>().unwrap_err().to_string(), "invalid signal: NOPE");
    assert!(LinuxSignal::new(0).is_none() && LinuxSignal::new(65).is_none());
}

#[test]
fn every_signal_is_shown_as_something_that_is_parsed() {
    for number in 1..=64 {
        let signal = LinuxSignal::new(number).unwrap();
        assert_eq!(signal.to_string().parse(), Ok(signal));
    }
    assert_eq!(LinuxSignal::TERM.to_string(), "SIGTERM");
    assert_eq!(LinuxSignal::new(37).unwrap().to_string(), "SIGRTMIN+3");
    assert_eq!(LinuxSignal::all_named().count(), 31);
}

#[cfg(target_os = "linux")]
mod delivery {
    use super::super::*;
    use nix::sys::signal::{Signal, raise};
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn signals_reach_every_subscriber_and_no_other_channel() {
        let one = subscribe(&[LinuxSignal::USR1, LinuxSignal::WINCH]).unwrap();
        let other = subscribe(&[LinuxSignal::WINCH]).unwrap();
        raise(Signal::SIGUSR1).unwrap();
        raise(Signal::SIGWINCH).unwrap();
        assert_eq!(one.recv_timeout(LONG).unwrap(), LinuxSignal::USR1);
        assert_eq!(one.recv_timeout(LONG).unwrap(), LinuxSignal::WINCH);
        assert_eq!(other.recv_timeout(LONG).unwrap(), LinuxSignal::WINCH);
        // Who has lost interest does not get in the way of the others.
        drop(other);
        raise(Signal::SIGWINCH).unwrap();
        assert_eq!(one.recv_timeout(LONG).unwrap(), LinuxSignal::WINCH);
    }

    #[test]
    fn what_cannot_be_caught_is_refused() {
        for signal in [LinuxSignal::KILL, LinuxSignal::STOP, LinuxSignal::new(32).unwrap()] {
            assert_eq!(subscribe(&[signal]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
