//! Inodes as they lie on the disk, in the extended form of 64 bytes: the compact form holds neither sub-second times nor
//! identities above 65535.

use crate::tree::{Attributes, Body, Device};

/// The bytes of an inode, without extended attributes and what follows them.
pub const INODE_SIZE: usize = 64;

/// The form of the inode: extended.
const VERSION_EXTENDED: u16 = 1;

/// How an inode's content is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In a row of blocks.
    Plain = 0,
    /// As `Plain`, but for the last part, which follows the inode.
    Inline = 2,
    /// In chunks, whose blocks are listed behind the inode.
    Chunked = 4,
}

/// What an inode says.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// File type and permissions.
    pub mode: u16,
    /// Owner, time and so on.
    pub attributes: &'a Attributes,
    /// The length of the content.
    pub size: u64,
    /// How many names it has.
    pub links: u32,
    /// How its content is found.
    pub layout: Layout,
    /// By layout and type: the first block, the chunks' format, or a device's number.
    pub place: u32,
    /// A number for programs of 32 bits; others see where the inode lies.
    pub number: u32,
    /// The bytes of its extended attributes: what `xattr::inline` gave.
    pub xattr_bytes: usize,
}

impl Record<'_> {
    /// The inode's bytes.
    pub fn encode(&self) -> [u8; INODE_SIZE] {
        let mut bytes = [0; INODE_SIZE];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &(VERSION_EXTENDED | (self.layout as u16) << 1).to_le_bytes());
        put(2, &xattr_count(self.xattr_bytes).to_le_bytes());
        put(4, &self.mode.to_le_bytes());
        put(8, &self.size.to_le_bytes());
        put(16, &self.place.to_le_bytes());
        put(20, &self.number.to_le_bytes());
        put(24, &self.attributes.uid.to_le_bytes());
        put(28, &self.attributes.gid.to_le_bytes());
        put(32, &self.attributes.seconds.to_le_bytes());
        put(40, &self.attributes.nanoseconds.to_le_bytes());
        put(44, &self.links.to_le_bytes());
        bytes
    }
}

/// The count of extended attributes' words as an inode states it: one for their header, one for each word behind it.
fn xattr_count(bytes: usize) -> u16 {
    match bytes.checked_sub(super::xattr::HEADER_SIZE) {
        Some(words) => u16::try_from(words / 4 + 1).expect("attributes are limited to 64 KiB"),
        None => 0,
    }
}

/// The type bits of a mode.
pub fn mode(attributes: &Attributes, body: &Body) -> u16 {
    let kind = match body {
        Body::Directory(_) => 0o040_000,
        Body::File(_) => 0o100_000,
        Body::Symlink(_) => 0o120_000,
        Body::CharDevice(_) => 0o020_000,
        Body::BlockDevice(_) => 0o060_000,
        Body::Fifo => 0o010_000,
        Body::Whiteout | Body::Link(_) => 0,
    };
    kind | attributes.permissions & 0o7777
}

/// The type of a file as directories state it.
pub fn directory_type(body: &Body) -> u8 {
    match body {
        Body::File(_) => 1,
        Body::Directory(_) => 2,
        Body::CharDevice(_) => 3,
        Body::BlockDevice(_) => 4,
        Body::Fifo => 5,
        Body::Symlink(_) => 7,
        Body::Whiteout | Body::Link(_) => 0,
    }
}

/// A device's number in Linux's 32-bit form: the minor number's low byte, 12 bits of major, the rest of the minor.
pub fn device_number(device: Device) -> u32 {
    device.minor & 0xff | u32::from(device.major & 0xfff) << 8 | (device.minor & 0xfff00) << 12
}
