//! Sizes: `512m`, `1.5g`, `64MiB`, `1048576`. Units are powers of 1024 whichever way they are written.

/// A size in bytes.
pub fn bytes(text: &str) -> Result<u64, String> {
    let invalid = || format!("invalid size: '{text}' (examples: 512m, 1.5g, 1048576)");
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let shift = shift(unit.strip_prefix(' ').unwrap_or(unit)).ok_or_else(invalid)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !is_number(whole) || !is_number(fraction) {
        return Err(invalid());
    }
    let too_large = || format!("size is too large: '{text}'");
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let whole = whole.checked_mul(1 << shift).ok_or_else(too_large)?;
    whole.checked_add(fraction_bytes(fraction, shift)).ok_or_else(too_large)
}

/// A size in MiB, rounded up.
pub fn mebibytes(text: &str) -> Result<u32, String> {
    let mebibytes = bytes(text)?.div_ceil(1 << 20);
    u32::try_from(mebibytes).map_err(|_| format!("size is too large: '{text}'"))
}

fn is_number(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `0.<digits>` of a unit; twelve digits are more than any unit has bytes to tell apart.
fn fraction_bytes(digits: &str, shift: u32) -> u64 {
    let digits = &digits[..digits.len().min(12)];
    let numerator: u128 = digits.parse().unwrap_or(0);
    let denominator = 10_u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    u64::try_from((numerator << shift) / denominator).unwrap_or(u64::MAX)
}

fn shift(unit: &str) -> Option<u32> {
    let lower = unit.to_ascii_lowercase();
    let stem = lower.strip_suffix('b').unwrap_or(&lower);
    let stem = stem.strip_suffix('i').unwrap_or(stem);
    let power = match stem {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    // `ib` alone is no unit.
    (power > 0 || !lower.starts_with('i')).then_some(power * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read() {
        let cases = [
            ("0", 0),
            ("1048576", 1 << 20),
            ("32b", 32),
            ("1k", 1024),
            ("512m", 512 << 20),
            ("512M", 512 << 20),
            ("64mb", 64 << 20),
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("0.5k", 512),
            ("2t", 2 << 40),
        ];
        for (text, size) in cases {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        assert_eq!(mebibytes("1"), Ok(1));
        assert_eq!(mebibytes("64m"), Ok(64));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "m", "abc", "-1m", "1x", "1.m", ".5m", "1..5m", "1ib", "1kk", "1 2", "0x10", "١m", "1.5.5g"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert!(bytes("99999999999999999999").unwrap_err().contains("too large"));
        assert!(bytes("20000p").unwrap_err().contains("too large"));
        assert!(mebibytes("8p").is_err());
        assert!(bytes(&format!("1.{}m", "9".repeat(60))).is_ok());
    }
}
