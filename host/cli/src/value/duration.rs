//! Times: lengths as Go writes them (`90s`, `1h30m`), and instants for `--since` and `--until`.

use jiff::Timestamp;

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A length of time in whole seconds, rounded up: `90`, `90s`, `1h30m`.
pub fn seconds(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let nanoseconds = nanoseconds(text).ok_or_else(|| format!("'{text}' is not a time (examples: 90s, 10m, 1h30m)"))?;
    Ok(nanoseconds.div_ceil(1_000_000_000))
}

fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(|byte| !byte.is_ascii_digit() && *byte != b'.').count();
        let (unit, after) = after.split_at(letters);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(number, *scale)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let part: u64 = format!("{fraction:0<9}").parse().ok()?;
    let part = u64::try_from(u128::from(part) * u128::from(scale) / 1_000_000_000).ok()?;
    whole.checked_mul(scale)?.checked_add(part)
}

/// An instant, given as one or as a length of time before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since(pub Timestamp);

impl Since {
    /// RFC 3339 (the time and the zone may be left out: midnight, UTC), seconds since the epoch with an optional
    /// fraction, or a length of time before now.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_at(text, Timestamp::now())
    }

    fn parse_at(text: &str, now: Timestamp) -> Result<Self, String> {
        let found = unix(text).or_else(|| date(text)).or_else(|| before(text, now));
        found
            .map(Self)
            .ok_or_else(|| format!("'{text}' is not a time (examples: 10m, 2026-01-31T12:00:00Z, 1769860800)"))
    }
}

fn unix(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    Timestamp::new(whole.parse().ok()?, format!("{fraction:0<9}").parse().ok()?).ok()
}

fn date(text: &str) -> Option<Timestamp> {
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => text.to_owned(),
    };
    whole.parse().or_else(|_| format!("{whole}Z").parse()).ok()
}

fn before(text: &str, now: Timestamp) -> Option<Timestamp> {
    let nanoseconds = i128::from(nanoseconds(text)?);
    Timestamp::from_nanosecond(now.as_nanosecond() - nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read() {
        let cases = [
            ("0", 0),
            ("90", 90),
            ("90s", 90),
            ("10m", 600),
            ("1h30m", 5400),
            ("1.5h", 5400),
            ("1ms", 1),
            ("2m0.5s", 121),
        ];
        for (text, length) in cases {
            assert_eq!(seconds(text), Ok(length), "{text}");
        }
        for text in ["", "x", "-1s", "1d", "s", "1s1", ".s", "99999999999999999999h"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_are_read() {
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        let cases = [
            ("2026-01-31T11:00:00Z", "2026-01-31T11:00:00Z"),
            ("2026-01-31T12:00:00+01:00", "2026-01-31T11:00:00Z"),
            ("2026-01-31T11:00:00", "2026-01-31T11:00:00Z"),
            ("2026-01-31T11:00", "2026-01-31T11:00:00Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("10m", "2026-01-31T11:50:00Z"),
            ("0s", "2026-01-31T12:00:00Z"),
            ("1769860800", "2026-01-31T12:00:00Z"),
            ("1769860800.5", "2026-01-31T12:00:00.5Z"),
        ];
        for (text, instant) in cases {
            assert_eq!(Since::parse_at(text, now), Ok(Since(instant.parse().unwrap())), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "-10m", "1769860800.0000000001"] {
            assert!(Since::parse_at(text, now).is_err(), "{text}");
        }
    }
}
