//! Members found, and archives that lie.

use super::*;
use std::io::Write;

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn scan(bytes: &[u8]) -> Result<Members, ArchiveError> {
    Members::scan(file(bytes))
}

/// A tar with these members; a name with `->` is a symbolic link, with `=>` a hard one.
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let link = [("->", tar::EntryType::Symlink), ("=>", tar::EntryType::Link)]
            .into_iter()
            .find_map(|(arrow, kind)| name.split_once(arrow).map(|(name, target)| (name, target, kind)));
        match link {
            Some((name, target, kind)) => {
                header.set_entry_type(kind);
                header.set_size(0);
                builder.append_link(&mut header, name, target).unwrap();
            }
            None => {
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, name, *bytes).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

#[test]
fn members_are_found_by_name() {
    let long = format!("{}/x", "d/".repeat(100));
    let members = scan(&tar(&[("a", b"1"), ("./b/c", b"22"), (&long, b"333"), ("a", b"new")])).unwrap();
    assert_eq!(members.read("a", 9).unwrap(), b"new");
    assert_eq!(members.read("/b/./c", 9).unwrap(), b"22");
    assert_eq!(members.read(&long, 9).unwrap(), b"333");
    assert!(matches!(members.read("b/c", 1), Err(ArchiveError::TooLarge { size: 2, limit: 1, .. })));
    for name in ["", "b", "../a", "b/../../a", "z"] {
        assert!(matches!(members.read(name, 9), Err(ArchiveError::Missing(_))), "{name}");
    }
}

#[test]
fn links_lead_to_members_only() {
    let members = scan(&tar(&[
        ("x/layer.tar", b"L"),
        ("y/layer.tar->../x/layer.tar", b""),
        ("z=>x/layer.tar", b""),
        ("out->../../etc/passwd", b""),
        ("loop->loop", b""),
    ]))
    .unwrap();
    assert_eq!(members.read("y/layer.tar", 9).unwrap(), b"L");
    assert_eq!(members.read("z", 9).unwrap(), b"L");
    for name in ["out", "loop"] {
        assert!(matches!(members.read(name, 9), Err(ArchiveError::Missing(_))), "{name}");
    }
}

#[test]
fn compressed_and_piped_archives_are_spooled() {
    let plain = tar(&[("a", b"1")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    for bytes in [plain, gzip.finish().unwrap()] {
        let members = Members::open(Source::Stream(&mut &bytes[..]), tempfile::tempfile).unwrap();
        assert_eq!(members.read("a", 9).unwrap(), b"1");
        let path = tempfile::NamedTempFile::new().unwrap();
        fs::write(path.path(), &bytes).unwrap();
        let members = Members::open(Source::File(path.path().to_owned()), tempfile::tempfile).unwrap();
        assert_eq!(members.read("a", 9).unwrap(), b"1");
    }
}

#[test]
fn a_directory_is_read_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    fs::write(directory.path().join("sub/a"), "1").unwrap();
    let members = Members::open(Source::Directory(directory.path().to_owned()), tempfile::tempfile).unwrap();
    assert_eq!(members.read("./sub/a", 9).unwrap(), b"1");
    assert!(!members.has("sub") && !members.has("absent") && !members.has("../sub/a"));
}

#[test]
fn what_is_no_tar_is_refused() {
    let whole = tar(&[("a", &[7; 2000])]);
    let mut checksum = whole.clone();
    checksum[0] = b'b';
    for (bytes, what) in
        [(&whole[..1000], "breaks off"), (&checksum[..], "no header"), (&[b'x'; 4096][..], "no header")]
    {
        let error = scan(bytes).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    for start in [&b"\xfd7zXZ\0rest"[..], b"BZh91AY"] {
        assert!(Members::open(Source::Stream(&mut &start[..]), tempfile::tempfile).is_err());
    }
    let empty = scan(&[0; 1024]).unwrap();
    assert!(!empty.has("a"));
}

#[test]
fn headers_that_ask_for_much_are_refused() {
    let entry = |kind: u8, size: u64, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    };
    let large = vec![b'a'; 70_000];
    assert!(scan(&entry(b'L', 70_000, &large)).unwrap_err().to_string().contains("64 KiB"));
    assert!(scan(&entry(b'L', u64::MAX / 2, b"x")).is_err());
    assert!(scan(&entry(b'0', u64::MAX, b"")).is_err());
    let size = b"29 size=18446744073709551615\n";
    let mut both = entry(b'x', size.len() as u64, size);
    both.extend(entry(b'0', 0, b""));
    assert!(scan(&both).is_err());
    let sparse = b"23 GNU.sparse.major=10\n";
    assert!(scan(&entry(b'x', sparse.len() as u64, sparse)).unwrap_err().to_string().contains("sparse"));
    assert!(scan(&entry(b'x', 9, b"999 a=b\n\n")).is_err());
}
