//! Times and states in the words that Docker has for them, and amounts as people type them.

use hull_state::{ContainerState, Status};
use jiff::Timestamp;

/// `Up 5 minutes`, `Exited (0) 2 hours ago`, `Created`.
pub fn status(state: &ContainerState, now: Timestamp) -> String {
    let since = |then: Option<Timestamp>| duration(then.map_or(0, |then| now.as_second() - then.as_second()));
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}", since(state.started_at)),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_at)),
    }
}

/// A length of time, roughly. A clock that was set back makes it zero.
pub fn duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    // Docker rounds hours to the nearest and cuts everything else.
    let hours = (seconds + HOUR / 2) / HOUR;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..MINUTE => format!("{seconds} seconds"),
        _ if seconds / MINUTE == 1 => "About a minute".to_owned(),
        _ if seconds < HOUR => format!("{} minutes", seconds / MINUTE),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if seconds < 14 * DAY => format!("{} days", seconds / DAY),
        _ if seconds < 60 * DAY => format!("{} weeks", seconds / (7 * DAY)),
        _ if seconds < 730 * DAY => format!("{} months", seconds / (30 * DAY)),
        _ => format!("{} years", seconds / (365 * DAY)),
    }
}

/// A number of bytes with a decimal unit and this many significant digits, as Docker writes sizes of files: `7.8MB`.
pub fn bytes(bytes: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let whole = if size >= 100.0 {
        3
    } else if size >= 10.0 {
        2
    } else {
        1
    };
    let text = format!("{size:.precision$}", precision = digits.saturating_sub(whole));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// A number of bytes as `--memory` takes it: in the largest unit that it is a whole number of.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")];
    let whole = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{bytes}b"), |(unit, letter)| format!("{}{letter}", bytes / unit))
}

/// A number of CPUs as `--cpus` takes it.
pub(crate) fn cpus(nano: u64) -> String {
    let (whole, fraction) = (nano / 1_000_000_000, format!("{:09}", nano % 1_000_000_000));
    match fraction.trim_end_matches('0') {
        "" => whole.to_string(),
        fraction => format!("{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_they_are_typed() {
        assert_eq!([1, 4 << 20, 3 << 30, 1536 << 10, 0].map(size), ["1b", "4m", "3g", "1536k", "0b"]);
        assert_eq!([2_000_000_000, 1_500_000_000, 1_000_000, 1].map(cpus), ["2", "1.5", "0.001", "0.000000001"]);
    }

    #[test]
    fn sizes_read_as_dockers() {
        let cases = [(0, "0B"), (999, "999B"), (1000, "1kB"), (7_812_345, "7.81MB"), (1_240_000_000, "1.24GB")];
        for (size, text) in cases {
            assert_eq!(bytes(size, 3), text);
        }
        assert_eq!([bytes(117_900_000, 3), bytes(123_456_789, 4), bytes(u64::MAX, 3)], ["118MB", "123.5MB", "18.4EB"]);
    }

    #[test]
    fn lengths_of_time_read_as_dockers() {
        let cases = [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (800 * 86400, "2 years"),
        ];
        for (seconds, words) in cases {
            assert_eq!(duration(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn states_read_as_dockers() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let then = Timestamp::from_second(1_000_000 - 300).ok();
        let state = ContainerState { status: Status::Running, started_at: then, ..crate::fixtures::state() };
        assert_eq!(status(&state, now), "Up 5 minutes");
        let state = ContainerState { status: Status::Exited, exit_code: 3, finished_at: then, ..state };
        assert_eq!(status(&state, now), "Exited (3) 5 minutes ago");
        assert_eq!(status(&crate::fixtures::state(), now), "Created");
    }
}
