//! Archives that are made to do harm, or are damaged.

use super::*;

/// Why an archive is refused.
fn refused(archive: Tar) -> LayerError {
    refused_within(archive, &Limits::default())
}

fn refused_within(archive: Tar, limits: &Limits) -> LayerError {
    match lay_out(&archive.end(), limits) {
        Err(error) => error,
        Ok(_) => panic!("this should have been refused"),
    }
}

/// For what reason its entry is.
fn fault(archive: Tar) -> EntryFault {
    match refused(archive) {
        LayerError::Entry { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn paths_that_lead_out_of_the_tree() {
    assert_eq!(fault(Tar::default().file("../x", b"")), EntryFault::ParentDirectory);
    assert_eq!(fault(Tar::default().file("a/../../x", b"")), EntryFault::ParentDirectory);
    assert_eq!(fault(Tar::default().directory("..")), EntryFault::ParentDirectory);
    assert_eq!(fault(Tar::default().pax(&[("path", b"x/../y")]).file("f", b"")), EntryFault::ParentDirectory);
    assert_eq!(fault(Tar::default().file("/etc/passwd", b"")), EntryFault::Absolute);
    assert_eq!(fault(Tar::default().file("./x/..//", b"")), EntryFault::ParentDirectory);
    assert_eq!(fault(Tar::default().pax(&[("path", b"a\0b")]).file("f", b"")), EntryFault::BadName);
    assert_eq!(fault(Tar::default().pax(&[("path", &[b'x'; 256])]).file("f", b"")), EntryFault::PathLength);
    assert_eq!(fault(Tar::default().pax(&[("path", &b"x/".repeat(3000))]).file("f", b"")), EntryFault::PathLength);
    assert_eq!(fault(Tar::default().file("", b"")), EntryFault::BadName);
}

#[test]
fn hard_links_out_of_the_tree() {
    assert_eq!(fault(Tar::default().hard_link("x", "../../etc/shadow")), EntryFault::LinkOut);
    assert_eq!(fault(Tar::default().hard_link("x", "/etc/shadow")), EntryFault::LinkOut);
    assert_eq!(fault(Tar::default().hard_link("x", "")), EntryFault::LinkOut);
    assert_eq!(fault(Tar::default().symlink("s", "/etc").hard_link("x", "s/shadow")), EntryFault::LinkTarget);
    assert_eq!(fault(Tar::default().directory("d").hard_link("x", "d")), EntryFault::LinkTarget);
    assert_eq!(fault(Tar::default().hard_link("x", ".")), EntryFault::LinkTarget);
    assert_eq!(fault(Tar::default().file(".wh.f", b"").hard_link("x", "f")), EntryFault::LinkTarget);
}

#[test]
fn a_file_that_is_replaced_by_a_link_and_then_written_through() {
    let through = Tar::default().symlink("d", "/etc").file("d/passwd", b"root::0:0::/:/bin/sh");
    assert_eq!(fault(through), EntryFault::BelowNoDirectory);
    let replaced = Tar::default().directory("d").file("d/f", b"").symlink("d", "/etc");
    assert_eq!(fault(replaced), EntryFault::Twice);
    let file = Tar::default().file("f", b"x").symlink("f", "/etc/passwd").file("f", b"y");
    assert_eq!(fault(file), EntryFault::Twice);
    let link = Tar::default().hard_link("l", "below").directory("l/x");
    assert_eq!(fault(link), EntryFault::BelowNoDirectory);
}

#[test]
fn names_that_overlap() {
    assert_eq!(fault(Tar::default().file("a", b"1").file("a", b"2")), EntryFault::Twice);
    assert_eq!(fault(Tar::default().file("a", b"1").file("./a/", b"")), EntryFault::Twice);
    assert_eq!(fault(Tar::default().file("a", b"1").file("a/b", b"2")), EntryFault::BelowNoDirectory);
    assert_eq!(fault(Tar::default().file("a/b", b"1").file("a", b"2")), EntryFault::Twice);
    assert_eq!(fault(Tar::default().file("a", b"1").directory("a")), EntryFault::Twice);
    assert_eq!(fault(Tar::default().symlink("./", "/")), EntryFault::Root);
}

#[test]
fn whiteouts_of_what_is_no_name() {
    assert_eq!(fault(Tar::default().file("a/.wh.", b"")), EntryFault::Whiteout);
    assert_eq!(fault(Tar::default().file("a/.wh...", b"")), EntryFault::Whiteout);
    assert_eq!(fault(Tar::default().file(".wh.a/b", b"")), EntryFault::Whiteout);
}

#[test]
fn more_entries_than_the_limit() {
    let limits = Limits { layer_entries: 100, ..Limits::default() };
    let many = (0..101).fold(Tar::default(), |tar, number| tar.file(&number.to_string(), b""));
    assert!(matches!(refused_within(many, &limits), LayerError::Limit { limit: 100, .. }));
    let deep = Tar::default().file(&"d/".repeat(45), b"").file(&"e/".repeat(45), b"").file(&"f/".repeat(45), b"");
    assert!(matches!(refused_within(deep, &limits), LayerError::Limit { limit: 100, .. }));
    let links = (0..100).fold(Tar::default().file("f", b""), |tar, number| tar.hard_link(&number.to_string(), "f"));
    assert!(matches!(refused_within(links, &limits), LayerError::Limit { limit: 100, .. }));
    let whiteouts = (0..101).fold(Tar::default(), |tar, number| tar.file(&format!(".wh.{number}"), b""));
    assert!(matches!(refused_within(whiteouts, &limits), LayerError::Limit { limit: 100, .. }));
}

#[test]
fn more_memory_than_the_limit() {
    let limits = Limits { layer_names_bytes: 10_000, ..Limits::default() };
    let bytes = |error| matches!(error, LayerError::Limit { limit: 10_000, .. });
    let xattrs = Tar::default().pax(&[("SCHILY.xattr.user.x", &[1; 20_000])]).file("f", b"");
    assert!(bytes(refused_within(xattrs, &limits)));
    let targets = (0..4)
        .fold(Tar::default(), |tar, number| tar.pax(&[("linkpath", &[b'x'; 4000])]).symlink(&number.to_string(), ""));
    assert!(bytes(refused_within(targets, &limits)));
    let chunks = Tar::default().pax(&[("GNU.sparse.size", b"999999999"), ("GNU.sparse.map", b"0,1")]).file("f", b"x");
    assert!(bytes(refused_within(chunks, &limits)));
    let names = (0..50)
        .fold(Tar::default(), |tar, number| tar.pax(&[("path", format!("{number:0255}").as_bytes())]).file("f", b""));
    assert!(bytes(refused_within(names, &limits)));
}

#[test]
fn extension_headers_without_end() {
    let header = Tar::header(b'x', b"pax", 2 << 20);
    assert!(matches!(refused(Tar::default().raw(&header, &[b'x'; 1000])), LayerError::Limit { .. }));
    let header = Tar::header(b'L', b"long", 8 << 30);
    assert!(matches!(refused(Tar::default().raw(&header, b"")), LayerError::Limit { .. }));
    let xattr = Tar::default().pax(&[("SCHILY.xattr.user.x", &[1; 65_530])]).file("f", b"");
    assert_eq!(fault(xattr), EntryFault::Xattrs);
}

#[test]
fn sparse_maps_that_contradict_themselves() {
    let with = |map: &str, size: &str| {
        Tar::default()
            .pax(&[("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", map.as_bytes())])
            .file("f", b"abc")
    };
    for (map, size) in [("0,2,1,1", "10"), ("5,3,0,0", "10"), ("9,3", "10"), ("0,4", "10"), ("0,3,x", "10")] {
        assert_eq!(fault(with(map, size)), EntryFault::SparseMap, "{map}");
    }
    assert_eq!(fault(with("0,3", &(1_u64 << 50).to_string())), EntryFault::TooLarge);
    let unnumbered =
        Tar::default().pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"9")]).file("f", b"9999999\n");
    assert_eq!(fault(unnumbered), EntryFault::SparseMap);
}

#[test]
fn sparse_parts_that_fill_the_disk_with_chunks() {
    // Each byte is in a chunk of 16 MiB of its own: address space is given, and it is limited.
    let map: Vec<_> = (0..100_u64).map(|number| format!("{},1", number << 30)).collect();
    let size = 1_u64 << 40;
    let archive = Tar::default()
        .pax(&[("GNU.sparse.size", size.to_string().as_bytes()), ("GNU.sparse.map", map.join(",").as_bytes())])
        .file("f", &[1; 100]);
    let limits = Limits { layer_bytes: 512 << 20, ..Limits::default() };
    assert!(matches!(refused_within(archive, &limits), LayerError::Limit { .. }));
}

#[test]
fn fields_out_of_range() {
    let with = |change: &dyn Fn(&mut tar::Header)| {
        let mut header = Tar::header(b'3', b"f", 0);
        header.set_device_major(1).unwrap();
        header.set_device_minor(1).unwrap();
        change(&mut header);
        fault(Tar::default().raw(&header, b""))
    };
    assert_eq!(with(&|header| header.set_uid(u64::from(u32::MAX))), EntryFault::Attributes);
    assert_eq!(with(&|header| header.as_old_mut().gid = *b"99999999"), EntryFault::Attributes);
    assert_eq!(
        with(&|header| header.as_old_mut().mtime = [0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        EntryFault::Attributes
    );
    assert_eq!(with(&|header| header.set_device_major(4096).unwrap()), EntryFault::Device);
    assert_eq!(with(&|header| header.set_device_minor(1 << 20).unwrap()), EntryFault::Device);
    assert_eq!(with(&|header| header.set_entry_type(tar::EntryType::new(b'V'))), EntryFault::Kind);
    assert_eq!(fault(Tar::default().symlink("s", "")), EntryFault::SymlinkTarget);
    assert_eq!(fault(Tar::default().raw(&Tar::header(b'5', b"d", 3), b"abc")), EntryFault::Contents);
    assert_eq!(fault(Tar::default().raw(&Tar::header(b'1', b"l", 3), b"abc")), EntryFault::Contents);
}

#[test]
fn archives_that_break_off_or_are_damaged() {
    let whole = Tar::default().file("a", &[1; 2000]).file("b", &[2; 2000]);
    for length in [1, 511, 513, 1000, 2511, 2561, 4000] {
        let error = lay_out(&whole.0[..length], &Limits::default()).err();
        assert!(matches!(error, Some(LayerError::Malformed { .. })), "{length}: {error:?}");
    }
    let mut damaged = whole.0.clone();
    damaged[0] ^= 1;
    assert!(matches!(lay_out(&damaged, &Limits::default()), Err(LayerError::Malformed { .. })));
    let mut hidden = vec![0; 512];
    hidden.extend_from_slice(&whole.0);
    assert!(matches!(lay_out(&hidden, &Limits::default()), Err(LayerError::Malformed { offset: 1024, .. })));
    let mut size = Tar::header(b'0', b"f", 0);
    size.as_old_mut().size = [0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert!(matches!(refused(Tar::default().raw(&size, b"")), LayerError::Malformed { .. }));
}

/// Nothing that comes by chance does more than to be refused.
#[test]
fn archives_with_bytes_changed_at_random() {
    let (whole, limits) = (
        Tar::default()
            .directory("d")
            .pax(&[("path", b"d/long"), ("SCHILY.xattr.user.x", b"y"), ("mtime", b"1.5")])
            .file("f", &[1; 700])
            .pax(&[("GNU.sparse.size", b"9000"), ("GNU.sparse.map", b"0,1,8000,2")])
            .file("s", b"abc")
            .symlink("l", "d")
            .hard_link("h", "d/long")
            .end(),
        Limits { layer_bytes: 1 << 20, ..Limits::default() },
    );
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    for _ in 0..2000 {
        let mut changed = whole.clone();
        for _ in 0..1 + random() % 4 {
            let at = random() % changed.len();
            changed[at] = u8::try_from(random() % 256).unwrap();
            // With a checksum that fits, what is behind it is reached.
            let start = at / 512 * 512;
            let sum: u32 = changed[start..start + 512]
                .iter()
                .enumerate()
                .map(|(index, byte)| if (148..156).contains(&index) { 32 } else { u32::from(*byte) })
                .sum();
            if start != at / 1024 * 1024 || random().is_multiple_of(2) {
                changed[start + 148..start + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        drop(lay_out(&changed, &limits));
    }
}
