//! Writes initial RAM file systems: the "newc" format of the kernel's buffer-format.rst, uncompressed.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// An archive that is being made.
#[derive(Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

/// What an entry is.
#[derive(Clone, Copy)]
enum Kind {
    Directory = 0o040_755,
    Program = 0o100_755,
    Console = 0o020_600,
    End = 0,
}

impl Initramfs {
    /// An archive with what the kernel needs beside `/init`: a console for its streams.
    pub fn new() -> Self {
        let mut archive = Self::default();
        archive.entry("dev", Kind::Directory, &[]);
        archive.entry("dev/console", Kind::Console, &[]);
        archive
    }

    /// Adds a file that can be executed, and the directories that it is in.
    pub fn add(&mut self, name: &str, content: &[u8]) {
        for (at, _) in name.match_indices('/') {
            self.entry(&name[..at], Kind::Directory, &[]);
        }
        self.entry(name, Kind::Program, content);
    }

    /// Adds the file at `path` under the same path, wherever it is a link to.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.add(path.to_string_lossy().trim_start_matches('/'), &content);
        Ok(())
    }

    /// Ends the archive and writes it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(mut self, path: &Path) -> Result<()> {
        self.entry("TRAILER!!!", Kind::End, &[]);
        fs::write(path, self.bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    fn entry(&mut self, name: &str, kind: Kind, content: &[u8]) {
        self.entries += 1;
        let (major, minor) = if matches!(kind, Kind::Console) { (5, 1) } else { (0, 0) };
        let (size, name_size) = (content.len(), name.len() + 1);
        // inode, mode, uid, gid, links, mtime, size, device of the file, device it stands for, length of name, checksum
        let fields = [self.entries as usize, kind as usize, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        fields.iter().for_each(|field| self.bytes.extend_from_slice(format!("{field:08X}").as_bytes()));
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
