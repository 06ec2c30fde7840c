//! Random bytes from the system's generator.

use std::io;

/// `N` random bytes, fit for identifiers and keys.
///
/// # Errors
/// Only where the system has no generator or forbids its use.
pub fn array<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::from)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_arrays_differ() {
        assert_ne!(super::array::<32>().unwrap(), super::array::<32>().unwrap());
    }
}
