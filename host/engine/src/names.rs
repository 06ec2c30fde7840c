//! Names for containers that were given none: an adjective and the surname of somebody who moved computing, physics
//! or mathematics, as people know it from Docker; the words are hull's own choice.

use std::io;

const ADJECTIVES: [&str; 64] = [
    "able", "agile", "amber", "apt", "bold", "brave", "bright", "brisk", "calm", "candid", "clear", "clever", "cosmic",
    "crisp", "curious", "daring", "deft", "eager", "early", "earnest", "easy", "fair", "famous", "fleet", "fluent",
    "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "happy", "hardy", "honest", "humble", "jolly",
    "keen", "kind", "lively", "loyal", "lucid", "lucky", "merry", "mild", "neat", "nimble", "noble", "patient",
    "plain", "proud", "quick", "quiet", "rapid", "ready", "serene", "sharp", "sincere", "steady", "sunny", "swift",
    "tidy", "vivid", "wise",
];

const SURNAMES: [&str; 64] = [
    "abel",
    "agnesi",
    "ampere",
    "babbage",
    "backus",
    "bardeen",
    "bohr",
    "boole",
    "brouwer",
    "cantor",
    "cauchy",
    "chandra",
    "church",
    "codd",
    "cray",
    "curry",
    "dahl",
    "dirac",
    "engelbart",
    "erdos",
    "euler",
    "faraday",
    "fermi",
    "floyd",
    "fourier",
    "galois",
    "gauss",
    "germain",
    "godel",
    "hamming",
    "hilbert",
    "hoare",
    "huffman",
    "jacobi",
    "kepler",
    "kilby",
    "kleene",
    "klein",
    "lagrange",
    "laplace",
    "leibniz",
    "lorentz",
    "markov",
    "maxwell",
    "meitner",
    "milner",
    "naur",
    "newell",
    "noether",
    "nyquist",
    "ohm",
    "pascal",
    "peano",
    "perlis",
    "planck",
    "poisson",
    "post",
    "raman",
    "riemann",
    "shannon",
    "tarski",
    "turing",
    "wirth",
    "zuse",
];

/// A random name such as `calm_noether`; the 4096 of them are not unique, so whoever claims one tries again when it is
/// taken, the later tries with a number behind it.
///
/// # Errors
/// The system gave no random bytes.
pub fn random(attempt: u32) -> io::Result<String> {
    Ok(compose(hull_platform::random::array::<3>()?, attempt))
}

fn compose([first, second, digit]: [u8; 3], attempt: u32) -> String {
    let adjective = ADJECTIVES[usize::from(first) % ADJECTIVES.len()];
    let surname = SURNAMES[usize::from(second) % SURNAMES.len()];
    if attempt < 3 { format!("{adjective}_{surname}") } else { format!("{adjective}_{surname}{digit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_state::is_name;
    use std::collections::BTreeSet;

    #[test]
    fn every_random_name_is_valid_and_the_words_are_distinct() {
        for first in 0..=255 {
            assert!(is_name(&compose([first, first, first], 0)));
            assert!(is_name(&compose([first, 255 - first, first], 9)));
        }
        assert_eq!(ADJECTIVES.iter().collect::<BTreeSet<_>>().len(), ADJECTIVES.len());
        assert_eq!(SURNAMES.iter().collect::<BTreeSet<_>>().len(), SURNAMES.len());
    }

    #[test]
    fn later_attempts_carry_a_number() {
        assert_eq!(compose([0, 0, 7], 0), "able_abel");
        assert_eq!(compose([0, 0, 7], 3), "able_abel7");
    }
}
