//! What a pull, a load or a push tells whoever draws it.

use oci_spec::image::Digest;

/// Where the work on a blob stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing has happened yet: another transfer has the turn, or another process works on the same blob.
    Waiting,
    /// Bytes come in. A layer is laid out at the same time.
    Downloading,
    /// All bytes are there; the rest of them is being laid out and written to the disk.
    Extracting,
    /// It is complete.
    Done,
    /// It was there before.
    Exists,
}

/// One step on the way of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Where the work stands.
    pub phase: Phase,
    /// The compressed bytes that came in so far.
    pub done: u64,
    /// How many there will be, if that is known.
    pub total: Option<u64>,
}

/// Somebody who wants to know. Called from several threads, some hundred times a second at most for each blob.
pub trait Progress: Sync {
    /// The blob with this digest has come to `step`.
    fn step(&self, blob: &Digest, step: Step);
}

/// Nobody wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn step(&self, _: &Digest, _: Step) {}
}
