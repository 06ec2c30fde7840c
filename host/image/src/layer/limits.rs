//! How much a layer may ask for. What exceeds a limit is refused with its number.

/// The limits of layers and images. The defaults are beyond what images that people use come near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files and directories in one layer, those that are only passed through included. A tree takes about 150 bytes of
    /// memory for each, beside its name.
    pub layer_entries: usize,
    /// The bytes of all names, targets of links, extended attributes and maps of sparse files of one layer: they are in
    /// memory while it is laid out.
    pub layer_names_bytes: usize,
    /// Files and directories in an image.
    pub image_entries: usize,
    /// The bytes of a layer, uncompressed.
    pub layer_bytes: u64,
    /// A layer may always have this many bytes; beyond, it may have [`Limits::ratio`] times its compressed size.
    pub unquestioned_bytes: u64,
    /// See [`Limits::unquestioned_bytes`]. Programs compress to a third or a fourth; a bomb of gzip has a ratio of 1000.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layer_entries: 1_000_000,
            layer_names_bytes: 64 << 20,
            image_entries: 2_000_000,
            layer_bytes: 64 << 30,
            unquestioned_bytes: 1 << 30,
            ratio: 100,
        }
    }
}
