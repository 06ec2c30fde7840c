//! What `hull vmm --try-jail` prints, and `hull doctor` reads.

use serde::{Deserialize, Serialize};

/// What a process found that confined itself as a vmm does, and then tried what is forbidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The layers that hold.
    pub layers: Vec<String>,
    /// What was tried and refused.
    pub refused: Vec<String>,
    /// What was tried and not refused: must be empty.
    pub allowed: Vec<String>,
}
