//! Maps of sparse files: which parts of a file an archive holds. GNU's own entry type (in `archive`) and its three
//! formats within POSIX headers: 0.0, 0.1 and 1.0.

use super::EntryFault;
use super::number::decimal;

/// The most parts a map may have: 16 bytes of memory each.
pub const MAX_PARTS: usize = 1 << 18;

/// A part that the archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

/// A map that has been checked: its parts are in order, do not overlap, and end within the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// The parts; none is empty.
    pub parts: Vec<Part>,
    /// The file's length.
    pub size: u64,
}

impl Map {
    /// Checks a map for a file of `size` bytes, of which the archive holds `stored`.
    pub fn new(parts: Vec<Part>, size: u64, stored: u64) -> Result<Self, EntryFault> {
        let (mut end, mut sum) = (0, 0_u64);
        for part in &parts {
            if part.offset < end {
                return Err(EntryFault::SparseMap);
            }
            end = part.offset.checked_add(part.length).filter(|end| *end <= size).ok_or(EntryFault::SparseMap)?;
            // Parts lie one behind the other within the file: their sum is no more than its size.
            sum += part.length;
        }
        if sum != stored {
            return Err(EntryFault::SparseMap);
        }
        let parts = parts.into_iter().filter(|part| part.length > 0).collect();
        Ok(Self { parts, size })
    }
}

/// Pairs of numbers become parts.
pub fn pairs(numbers: &[u64]) -> Result<Vec<Part>, EntryFault> {
    if !numbers.len().is_multiple_of(2) || numbers.len() > 2 * MAX_PARTS {
        return Err(EntryFault::SparseMap);
    }
    Ok(numbers.chunks_exact(2).map(|pair| Part { offset: pair[0], length: pair[1] }).collect())
}

/// The map of format 0.1: numbers separated by commas.
pub fn from_list(text: &[u8]) -> Result<Vec<u64>, EntryFault> {
    text.split(|byte| *byte == b',').map(|number| decimal(number).ok_or(EntryFault::SparseMap)).collect()
}

/// Reads the map of format 1.0, which precedes the content: lines of one number each, the first one counts the parts.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    count: Option<usize>,
    numbers: Vec<u64>,
}

impl Lines {
    /// Takes the next block, and tells whether the map is complete.
    pub fn block(&mut self, block: &[u8]) -> Result<bool, EntryFault> {
        for &byte in block {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > 20 {
                    return Err(EntryFault::SparseMap);
                }
                continue;
            }
            let number = decimal(&self.line).ok_or(EntryFault::SparseMap)?;
            self.line.clear();
            if self.count.is_none() {
                let count = usize::try_from(number).ok().filter(|count| *count <= MAX_PARTS);
                self.count = Some(count.ok_or(EntryFault::SparseMap)?);
            } else {
                self.numbers.push(number);
            }
            if self.count.is_some_and(|count| self.numbers.len() == 2 * count) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The parts read.
    pub fn parts(&self) -> Result<Vec<Part>, EntryFault> {
        pairs(&self.numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(offset: u64, length: u64) -> Part {
        Part { offset, length }
    }

    #[test]
    fn maps_that_contradict_themselves_are_refused() {
        assert!(Map::new(vec![part(0, 10), part(20, 5), part(100, 0)], 100, 15).is_ok());
        for (parts, size, stored) in [
            (vec![part(0, 10), part(5, 10)], 100, 20),
            (vec![part(20, 10), part(0, 10)], 100, 20),
            (vec![part(90, 20)], 100, 20),
            (vec![part(u64::MAX, 2)], u64::MAX, 2),
            (vec![part(0, 10)], 100, 11),
        ] {
            assert_eq!(Map::new(parts, size, stored), Err(EntryFault::SparseMap));
        }
    }

    #[test]
    fn the_map_of_format_1_0_may_span_blocks() {
        let mut lines = Lines::default();
        assert_eq!(lines.block(b"2\n0\n51"), Ok(false));
        assert_eq!(lines.block(b"2\n1024\n512\n\0\0\0"), Ok(true));
        assert_eq!(lines.parts(), Ok(vec![part(0, 512), part(1024, 512)]));
        assert!(Lines::default().block(b"99999999999\n").is_err());
        assert!(Lines::default().block(b"1\nx\n").is_err());
        assert!(Lines::default().block(&[b'1'; 512]).is_err());
        assert_eq!(Lines::default().block(b"0\n"), Ok(true));
    }

    #[test]
    fn lists_have_pairs() {
        assert_eq!(pairs(&from_list(b"0,512,1024,512").unwrap()), Ok(vec![part(0, 512), part(1024, 512)]));
        assert!(pairs(&from_list(b"0,512,1024").unwrap()).is_err());
        assert!(from_list(b"0,,1").is_err());
    }
}
