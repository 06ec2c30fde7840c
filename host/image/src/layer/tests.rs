//! Archives, ordinary and hostile ones.

mod hostile;
mod ordinary;

use super::*;
use crate::tree::{Body, Inode, InodeId, ROOT, Tree};
use std::fs::File;
use std::io::Read as _;

/// An archive that is being made, header by header, also such as no program makes.
#[derive(Default)]
pub(crate) struct Tar(pub Vec<u8>);

impl Tar {
    pub fn header(kind: u8, name: &[u8], size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header.set_size(size);
        header.set_entry_type(tar::EntryType::new(kind));
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header
    }

    pub fn raw(mut self, header: &tar::Header, content: &[u8]) -> Self {
        let mut header = header.clone();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.raw(&Self::header(b'0', name.as_bytes(), content.len() as u64), content)
    }

    pub fn directory(self, name: &str) -> Self {
        let mut header = Self::header(b'5', name.as_bytes(), 0);
        header.set_mode(0o755);
        self.raw(&header, b"")
    }

    pub fn link(self, kind: u8, name: &str, target: &str) -> Self {
        let mut header = Self::header(kind, name.as_bytes(), 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.raw(&header, b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.link(b'2', name, target)
    }

    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(b'1', name, target)
    }

    /// An extension header for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            // The length counts its own digits.
            let length = (1..).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length);
            content.extend_from_slice(format!("{} {key}=", length.unwrap()).as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.raw(&Self::header(b'x', b"pax", content.len() as u64), &content)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(crate) struct Laid {
    pub tree: Tree,
    pub data: Vec<u8>,
}

pub(crate) fn lay_out(archive: &[u8], limits: &Limits) -> Result<Laid, LayerError> {
    let path = tempfile::NamedTempFile::new().unwrap();
    let file = path.reopen().unwrap();
    let (tree, length) = build::build(archive, &file, limits)?;
    let mut data = Vec::new();
    File::open(path.path()).unwrap().read_to_end(&mut data).unwrap();
    assert_eq!(data.len() as u64, length);
    assert!(length.is_multiple_of(4096));
    assert!(tree.is_sound());
    Ok(Laid { tree, data })
}

impl Laid {
    pub fn of(archive: Tar) -> Self {
        lay_out(&archive.end(), &Limits::default()).unwrap()
    }

    pub fn id(&self, path: &str) -> Option<InodeId> {
        path.split('/').try_fold(ROOT, |at, name| self.tree.child(at, name.as_bytes()))
    }

    pub fn inode(&self, path: &str) -> &Inode {
        self.tree.inode(self.id(path).unwrap_or_else(|| panic!("{path} is not there")))
    }

    /// A file's content, read as the kernel would.
    pub fn content(&self, path: &str) -> Vec<u8> {
        use crate::tree::Data;
        let Body::File(data) = &self.inode(path).body else { panic!("{path} is no file") };
        let at = |start: u64, length: u64| {
            self.data[usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap()].to_vec()
        };
        match data {
            Data::Empty => Vec::new(),
            Data::Small { offset, head, size } => at(offset + u64::from(*head), (*size).into()),
            Data::Plain { block, size } => at(u64::from(*block) * 4096, *size),
            Data::Sparse { size, bits, chunks } => {
                let chunk = 4096_u64 << bits;
                let mut content = Vec::new();
                for place in chunks {
                    content.extend(match place {
                        Some(block) => at(u64::from(*block) * 4096, chunk),
                        None => vec![0; usize::try_from(chunk).unwrap()],
                    });
                }
                content.truncate(usize::try_from(*size).unwrap());
                content
            }
        }
    }
}
