//! Numbers in tar headers: octal digits, or, where they would not fit, binary (GNU, star).

/// Reads a field: octal digits with spaces or zero bytes around them, or a big-endian number in two's complement whose
/// first byte has its high bits set. `None` if it is neither, or does not fit.
pub fn read(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(0x80..) => binary(field),
        _ => octal(field),
    }
}

/// As [`read`], for what cannot be negative.
pub fn unsigned(field: &[u8]) -> Option<u64> {
    read(field).and_then(|number| u64::try_from(number).ok())
}

/// The first byte is 0x80 for positive numbers and 0xff for negative ones; bit 6 is the sign.
fn binary(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    let negative = first & 0x40 != 0;
    let start = if negative { i128::from(first | 0x80) - 0x100 } else { i128::from(first & 0x3f) };
    let number = rest.iter().try_fold(start, |number, byte| Some(number.checked_mul(256)? | i128::from(*byte)))?;
    i64::try_from(number).ok()
}

fn octal(field: &[u8]) -> Option<i64> {
    let text = field.split(|byte| *byte == 0).next()?.trim_ascii();
    // A field that is empty is zero: old programs leave unused ones so.
    text.iter().try_fold(0_i64, |number, byte| match byte {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// A decimal number without a sign.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A time: seconds with a sign and a fraction, as seconds and the nanoseconds that follow them. Digits beyond nanoseconds
/// are cut off.
pub fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &text[..0]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    match (negative, nanoseconds) {
        (false, _) => Some((seconds, nanoseconds)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some(((-seconds).checked_sub(1)?, 1_000_000_000 - nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields_may_be_padded_on_both_sides() {
        assert_eq!(read(b"0000644\0"), Some(0o644));
        assert_eq!(read(b"   644 \0"), Some(0o644));
        assert_eq!(read(b"77777777777\0"), Some((8 << 30) - 1));
        assert_eq!(read(b"777777777777"), Some((64 << 30) - 1));
        assert_eq!(read(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(read(b"0000648\0"), None);
        assert_eq!(read(b"-000644\0"), None);
    }

    #[test]
    fn binary_fields_have_a_sign() {
        assert_eq!(read(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]), Some(0x102));
        assert_eq!(read(&[0xff; 12]), Some(-1));
        assert_eq!(read(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(unsigned(&[0xff; 8]), None);
        assert_eq!(unsigned(&[0x80, 0, 0, 0, 0x77, 0x35, 0x94, 0]), Some(2_000_000_000));
    }

    #[test]
    fn times_are_rounded_down() {
        assert_eq!(time(b"1350244992.023960108"), Some((1_350_244_992, 23_960_108)));
        assert_eq!(time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(time(b"-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time(b"-7"), Some((-7, 0)));
        assert_eq!(time(b"0.1234567899"), Some((0, 123_456_789)));
        for bad in [&b""[..], b".5", b"1.5x", b"--1", b"1e3", b"99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad:?}");
        }
    }
}
