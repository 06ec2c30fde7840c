//! A reader of EROFS images: as much of fs/erofs as the writer's images need.

use super::BLOCK;
use std::collections::VecDeque;

/// An image in memory.
pub struct Reader(Vec<u8>);

/// What an inode says.
#[derive(Debug, Clone)]
pub struct Inode {
    pub offset: u64,
    pub layout: u16,
    pub xattr_bytes: u64,
    pub mode: u16,
    pub size: u64,
    pub place: u32,
    pub uid: u32,
    pub gid: u32,
    pub seconds: i64,
    pub nanoseconds: u32,
    pub links: u32,
}

impl Reader {
    pub fn new(image: Vec<u8>) -> Self {
        let reader = Self(image);
        assert_eq!(reader.u32(1024), 0xE0F5_E1E2, "magic");
        assert_eq!(reader.0[1024 + 12], 12, "block bits");
        assert_eq!(u64::from(reader.u32(1024 + 36)) * BLOCK as u64, reader.0.len() as u64, "blocks");
        let reached = reader.walk();
        assert_eq!(reader.u64(1024 + 16), reached, "inodes");
        reader
    }

    fn bytes(&self, at: u64, length: u64) -> &[u8] {
        &self.0[usize::try_from(at).unwrap()..usize::try_from(at + length).unwrap()]
    }

    fn u16(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.bytes(at, 2).try_into().unwrap())
    }

    fn u32(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    fn u64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().unwrap())
    }

    /// The end of the metadata: where the first data piece can start. Known by the directories' and attributes' blocks.
    pub fn metadata_bytes(&self) -> u64 {
        let mut end = u64::from(self.u32(1024 + 44)) * BLOCK as u64;
        for node in self.nodes() {
            let inode = self.at(node);
            if matches!(inode.mode >> 12, 0o4 | 0o12) && inode.layout == 0 {
                end = end.max(u64::from(inode.place) * BLOCK as u64 + inode.size);
            }
        }
        end.next_multiple_of(BLOCK as u64)
    }

    fn at(&self, node: u64) -> Inode {
        let offset = node * 32;
        let format = self.u16(offset);
        assert_eq!(format & 1, 1, "extended");
        assert_eq!(format >> 4, 0, "unknown bits");
        let count = u64::from(self.u16(offset + 2));
        Inode {
            offset,
            layout: format >> 1 & 7,
            xattr_bytes: if count == 0 { 0 } else { 12 + (count - 1) * 4 },
            mode: self.u16(offset + 4),
            size: self.u64(offset + 8),
            place: self.u32(offset + 16),
            uid: self.u32(offset + 24),
            gid: self.u32(offset + 28),
            seconds: i64::from_le_bytes(self.bytes(offset + 32, 8).try_into().unwrap()),
            nanoseconds: self.u32(offset + 40),
            links: self.u32(offset + 44),
        }
    }

    fn read(&self, inode: &Inode) -> Vec<u8> {
        let block = BLOCK as u64;
        let behind = inode.offset + 64 + inode.xattr_bytes;
        let whole = |length| self.bytes(u64::from(inode.place) * block, length).to_vec();
        match inode.layout {
            0 if inode.size == 0 => Vec::new(),
            0 => whole(inode.size),
            2 => {
                let tail = inode.size % block;
                assert!(behind % block + tail <= block, "an inline tail crosses a block");
                [whole(inode.size - tail), self.bytes(behind, tail).to_vec()].concat()
            }
            4 => {
                let chunk = block << (inode.place & 0x1f);
                let mut content = Vec::new();
                for number in 0..inode.size.div_ceil(chunk) {
                    match self.u32(behind + 4 * number) {
                        u32::MAX => content.resize(content.len() + usize::try_from(chunk).unwrap(), 0),
                        start => content.extend_from_slice(self.bytes(u64::from(start) * block, chunk)),
                    }
                }
                content.truncate(usize::try_from(inode.size).unwrap());
                content
            }
            other => panic!("layout {other}"),
        }
    }

    /// A directory's entries: names, inodes, types.
    fn entries(&self, inode: &Inode) -> Vec<(String, u64, u8)> {
        let mut entries = Vec::new();
        for block in self.read(inode).chunks(BLOCK) {
            let entry = |index: usize| &block[index * 12..index * 12 + 12];
            let name_at = |index: usize| usize::from(u16::from_le_bytes(entry(index)[8..10].try_into().unwrap()));
            let count = name_at(0) / 12;
            for index in 0..count {
                let end = if index + 1 < count { name_at(index + 1) } else { block.len() };
                let name = block[name_at(index)..end].split(|byte| *byte == 0).next().unwrap();
                let node = u64::from_le_bytes(entry(index)[..8].try_into().unwrap());
                entries.push((String::from_utf8(name.to_vec()).unwrap(), node, entry(index)[10]));
            }
        }
        entries
    }

    /// All inodes that can be reached, each once.
    fn nodes(&self) -> Vec<u64> {
        let mut nodes = vec![u64::from(self.u16(1024 + 14))];
        let mut open = VecDeque::from([nodes[0]]);
        while let Some(node) = open.pop_front() {
            for (name, child, kind) in self.entries(&self.at(node)) {
                let expected = [0, 5, 3, 0, 2, 0, 4, 0, 1, 0, 7][usize::from(self.at(child).mode >> 12)];
                assert_eq!(kind, expected, "type of {name}");
                if name == "." {
                    assert_eq!(child, node);
                }
                if name != "." && name != ".." && !nodes.contains(&child) {
                    nodes.push(child);
                    if kind == 2 {
                        open.push_back(child);
                    }
                }
            }
        }
        nodes
    }

    fn walk(&self) -> u64 {
        if self.0.len() > 1 << 20 { self.u64(1024 + 16) } else { self.nodes().len() as u64 }
    }

    fn find(&self, path: &str) -> u64 {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.fold(u64::from(self.u16(1024 + 14)), |node, part| {
            let entries = self.entries(&self.at(node));
            entries.iter().find(|(name, ..)| name == part).unwrap_or_else(|| panic!("{path} is not there")).1
        })
    }

    pub fn inode(&self, path: &str) -> Inode {
        self.at(self.find(path))
    }

    pub fn offset(&self, path: &str) -> u64 {
        self.inode(path).offset
    }

    pub fn names(&self, path: &str) -> Vec<String> {
        self.entries(&self.inode(path)).into_iter().map(|(name, ..)| name).collect()
    }

    pub fn content(&self, path: &str) -> Vec<u8> {
        self.read(&self.inode(path))
    }

    pub fn shared_attributes(&self, path: &str) -> u8 {
        self.bytes(self.inode(path).offset + 64 + 4, 1)[0]
    }

    /// Extended attributes, sorted by name.
    pub fn xattrs(&self, path: &str) -> Vec<(String, Vec<u8>)> {
        let inode = self.inode(path);
        if inode.xattr_bytes == 0 {
            return Vec::new();
        }
        let start = inode.offset + 64;
        let shared = u64::from(self.shared_attributes(path));
        let area = u64::from(self.u32(1024 + 44)) * BLOCK as u64;
        let mut places: Vec<_> =
            (0..shared).map(|index| area + 4 * u64::from(self.u32(start + 12 + 4 * index))).collect();
        let mut at = start + 12 + 4 * shared;
        while at < start + inode.xattr_bytes {
            places.push(at);
            let length = 4 + u64::from(self.bytes(at, 1)[0]) + u64::from(self.u16(at + 2));
            at = (at + length).next_multiple_of(4);
        }
        let mut xattrs: Vec<_> = places.into_iter().map(|at| self.xattr(at)).collect();
        xattrs.sort();
        xattrs
    }

    fn xattr(&self, at: u64) -> (String, Vec<u8>) {
        let length = u64::from(self.bytes(at, 1)[0]);
        let prefix = ["", "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", "", "security."];
        let prefix = prefix[usize::from(self.bytes(at + 1, 1)[0])];
        let name = String::from_utf8(self.bytes(at + 4, length).to_vec()).unwrap();
        (format!("{prefix}{name}"), self.bytes(at + 4 + length, self.u16(at + 2).into()).to_vec())
    }
}
