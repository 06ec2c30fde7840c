//! `--cpus`: a decimal number, exact to a billionth.

/// In billionths of a CPU.
pub fn nano_cpus(text: &str) -> Result<u64, String> {
    let invalid = || format!("'{text}' is not a number of CPUs (examples: 2, 1.5, 0.25)");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return Err(invalid());
    }
    if fraction.len() > 9 {
        return Err(format!("'{text}' is too precise: at most nine digits behind the point"));
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| invalid())?;
    let nano = whole.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(fraction)).ok_or_else(invalid)?;
    if nano == 0 {
        return Err("a container needs some CPU: at least 0.01".to_owned());
    }
    Ok(nano)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        assert_eq!(nano_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(nano_cpus(".25"), Ok(250_000_000));
        assert_eq!(nano_cpus("0.000000001"), Ok(1));
        for text in ["", ".", "x", "-1", "1e3", "1.0000000001", "99999999999999999999", "0", "1.5.5", "+1"] {
            assert!(nano_cpus(text).is_err(), "{text}");
        }
    }
}
