//! POSIX's extension headers: records of a length, a key and a value (pax(1), "pax Header Block").

use super::EntryFault;
use super::number::{decimal, time};
use super::sparse;
use crate::erofs::is_storable;
use crate::tree::Xattr;
use std::collections::BTreeMap;

/// The most bytes of one extension header or long name. Extended attributes are in it.
pub const MAX_BYTES: u64 = 1 << 20;

/// What extension headers say of the next entry.
#[derive(Debug, Default)]
pub struct Extension {
    /// Its path.
    pub path: Option<Vec<u8>>,
    /// The target of a link.
    pub link: Option<Vec<u8>>,
    /// The bytes that the archive holds of it.
    pub size: Option<u64>,
    /// Its owner.
    pub uid: Option<u64>,
    /// Its group.
    pub gid: Option<u64>,
    /// When its content last changed.
    pub time: Option<(i64, u32)>,
    /// Its extended attributes.
    pub xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// Whether it is sparse.
    pub sparse: Sparse,
}

/// What extension headers say of a sparse file.
#[derive(Debug, Default)]
pub struct Sparse {
    /// The file's length.
    pub size: Option<u64>,
    /// The map of formats 0.0 and 0.1.
    pub numbers: Option<Vec<u64>>,
    /// The map precedes the content: format 1.0.
    pub in_content: bool,
    /// The path, where the header's is made up.
    path: Option<Vec<u8>>,
}

impl Extension {
    /// Takes the records of a header.
    pub fn read(&mut self, mut records: &[u8]) -> Result<(), EntryFault> {
        // Some programs fill the header up with zeros.
        while !records.is_empty() && records.iter().any(|byte| *byte != 0) {
            let space = records.iter().take(20).position(|byte| *byte == b' ').ok_or(EntryFault::Extension)?;
            let length = decimal(&records[..space]).and_then(|length| usize::try_from(length).ok());
            let length = length.filter(|length| *length <= records.len() && *length > space + 1);
            let (record, rest) = records.split_at(length.ok_or(EntryFault::Extension)?);
            let record = record[space + 1..].strip_suffix(b"\n").ok_or(EntryFault::Extension)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(EntryFault::Extension)?;
            self.record(&record[..equals], &record[equals + 1..])?;
            records = rest;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), EntryFault> {
        let number =
            || if value.is_empty() { Ok(None) } else { decimal(value).map(Some).ok_or(EntryFault::Attributes) };
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?,
            b"gid" => self.gid = number()?,
            b"mtime" if value.is_empty() => self.time = None,
            b"mtime" => self.time = Some(time(value).ok_or(EntryFault::Attributes)?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.insert(name.into(), value.into());
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.record(key, value)?;
                }
            }
        }
        Ok(())
    }

    /// The path, wherever it was said.
    pub fn path(&mut self) -> Option<Vec<u8>> {
        self.sparse.path.take().or(self.path.take())
    }

    /// The extended attributes that an image keeps: those that Linux has handlers for, without those by which the guest's
    /// own overlay file system would be told what to show.
    pub fn xattrs(&mut self) -> Vec<Xattr> {
        let all = std::mem::take(&mut self.xattrs).into_iter().map(|(name, value)| Xattr { name, value });
        all.filter(|xattr| is_storable(xattr) && !xattr.name.starts_with(b"trusted.overlay.")).collect()
    }
}

impl Sparse {
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), EntryFault> {
        let number = || decimal(value).ok_or(EntryFault::SparseMap);
        match key {
            b"major" => self.in_content = number()? == 1,
            b"name" => self.path = text(value)?,
            b"size" | b"realsize" => self.size = Some(number()?),
            b"map" => self.numbers = Some(sparse::from_list(value)?),
            b"offset" | b"numbytes" => self.numbers.get_or_insert_default().push(number()?),
            _ => {}
        }
        Ok(())
    }

    /// Whether anything was said.
    pub fn is_some(&self) -> bool {
        self.in_content || self.numbers.is_some()
    }
}

/// An empty value takes back what was said before.
fn text(value: &[u8]) -> Result<Option<Vec<u8>>, EntryFault> {
    if value.contains(&0) {
        return Err(EntryFault::BadName);
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[u8]) -> Result<Extension, EntryFault> {
        let mut extension = Extension::default();
        extension.read(records).map(|()| extension)
    }

    #[test]
    fn records_are_cut_by_their_lengths() {
        let mut read = read(b"12 path=x/y\n26 SCHILY.xattr.user.a=\n\0\n11 uid=123\n\0\0").unwrap();
        assert_eq!(read.path(), Some(b"x/y".to_vec()));
        assert_eq!(read.uid, Some(123));
        assert_eq!(read.xattrs(), [Xattr { name: (*b"user.a").into(), value: (*b"\n\0").into() }]);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in
            [&b"x"[..], b"9999 path=x\n", b"3 x", b"11 path=x/y\n", b"99999999999999999999 a=b\n", b"6 abc\n", b"2 \n"]
        {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(read(b"12 path=x\0y\n").is_err());
        assert!(read(b"10 uid=-1\n").is_err());
    }

    #[test]
    fn attributes_of_overlay_file_systems_are_dropped() {
        let mut read = read(b"36 SCHILY.xattr.trusted.overlay.x=y\n27 SCHILY.xattr.odd.name=z\n").unwrap();
        assert_eq!(read.xattrs(), []);
    }
}
