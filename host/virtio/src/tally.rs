//! Counting what a guest does wrong, and saying so without letting it fill the log.

/// A counter that asks to be mentioned at 1, 2, 4, 8, …: at most 64 times ever.
#[derive(Debug, Default)]
pub struct Tally {
    count: u64,
}

impl Tally {
    /// A counter that stands at zero.
    pub const fn new() -> Self {
        Self { count: 0 }
    }

    /// How often it has counted.
    pub const fn total(&self) -> u64 {
        self.count
    }

    /// Counts one; the count if it should be logged.
    pub fn count(&mut self) -> Option<u64> {
        self.count = self.count.saturating_add(1);
        self.count.is_power_of_two().then_some(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_events_are_mentioned_ten_times() {
        let mut tally = Tally::default();
        let mentions: Vec<_> = (0..1000).filter_map(|_| tally.count()).collect();
        assert_eq!(mentions, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    }
}
