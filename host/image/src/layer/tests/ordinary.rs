//! What ordinary programs put into archives.

use super::*;
use crate::tree::{Data, Device, Directory};

#[test]
fn contents_of_all_sizes_come_out_as_they_went_in() {
    let sizes = [0, 1, 100, 3072, 3073, 4032, 4095, 4096, 4097, 100_000, 3 << 20];
    let content = |size: usize| (0..size).map(|at| u8::try_from((at * 7 + size) % 251).unwrap()).collect::<Vec<_>>();
    let archive = sizes.iter().fold(Tar::default(), |tar, size| tar.file(&format!("f{size}"), &content(*size)));
    let laid = Laid::of(archive);
    for size in sizes {
        assert_eq!(laid.content(&format!("f{size}")), content(size), "{size}");
    }
    assert!(matches!(laid.inode("f0").body, Body::File(Data::Empty)));
    assert!(matches!(laid.inode("f3072").body, Body::File(Data::Small { .. })));
    assert!(matches!(laid.inode("f3073").body, Body::File(Data::Plain { .. })));
}

#[test]
fn small_files_share_blocks_and_none_crosses_one() {
    let archive = (0..500).fold(Tar::default(), |tar, number| {
        tar.file(&format!("f{number}"), &vec![u8::try_from(number % 256).unwrap(); 17 * number % 3000 + 1])
    });
    let archive_bytes = archive.0.len();
    let laid = Laid::of(archive);
    for number in 0..500_usize {
        let path = format!("f{number}");
        let Body::File(Data::Small { offset, head, size }) = laid.inode(&path).body else { panic!("{path}") };
        assert_eq!(offset % 32, 0);
        assert!(offset % 4096 + u64::from(head) + u64::from(size) <= 4096, "{path}");
        assert_eq!(laid.content(&path), vec![u8::try_from(number % 256).unwrap(); 17 * number % 3000 + 1]);
    }
    assert!(laid.data.len() < archive_bytes, "{} bytes of data for an archive of {archive_bytes}", laid.data.len());
}

#[test]
fn every_kind_of_entry_is_read() {
    let mut device = Tar::header(b'3', b"dev", 0);
    device.set_device_major(259).unwrap();
    device.set_device_minor(70_000).unwrap();
    let laid = Laid::of(
        Tar::default()
            .directory("./d/")
            .file("./d/f", b"x")
            .symlink("d/s", "../../../etc/passwd")
            .hard_link("d/h", "./d/f")
            .raw(&device, b"")
            .raw(&Tar::header(b'6', b"fifo", 0), b"")
            .raw(&Tar::header(b'0', b"old/", 0), b"")
            .raw(&Tar::header(0, b"older", 1), b"y"),
    );
    assert_eq!(laid.inode("d").attributes.permissions, 0o755);
    assert_eq!(laid.id("d/f"), laid.id("d/h"));
    assert_eq!(laid.inode("d/s").body, Body::Symlink((*b"../../../etc/passwd").into()));
    assert_eq!(laid.inode("dev").body, Body::CharDevice(Device { major: 259, minor: 70_000 }));
    assert_eq!(laid.inode("fifo").body, Body::Fifo);
    assert!(matches!(laid.inode("old").body, Body::Directory(_)));
    assert_eq!(laid.content("older"), b"y");
}

#[test]
fn extension_headers_say_what_fields_cannot() {
    let long = "d/".repeat(100) + &"n".repeat(255);
    let capability = b"\x01\0\0\x02\0\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let laid = Laid::of(
        Tar::default()
            .raw(&Tar::header(b'g', b"global", 13), b"13 comment=x\n")
            .pax(&[
                ("path", long.as_bytes()),
                ("uid", b"4000000000"),
                ("gid", b"70000"),
                ("mtime", b"-0.75"),
                ("SCHILY.xattr.security.capability", capability),
                ("SCHILY.xattr.user.empty", b""),
            ])
            .file("short", b"x")
            .pax(&[("linkpath", "t".repeat(3000).as_bytes())])
            .symlink("s", "t")
            .file("plain", b""),
    );
    let attributes = &laid.inode(&long).attributes;
    assert_eq!((attributes.uid, attributes.gid), (4_000_000_000, 70_000));
    assert_eq!((attributes.seconds, attributes.nanoseconds), (-1, 250_000_000));
    let xattrs = attributes.xattrs.as_deref().unwrap();
    assert_eq!(xattrs.len(), 2);
    assert_eq!((&*xattrs[0].name, &*xattrs[0].value), (&b"security.capability"[..], &capability[..]));
    assert_eq!(laid.inode("s").body, Body::Symlink(vec![b't'; 3000].into()));
    assert_eq!(laid.inode("plain").attributes.uid, 0);
}

#[test]
fn gnu_long_names_are_read() {
    let (name, target) = ("n/".repeat(80) + "x", "t".repeat(200));
    let laid = Laid::of(
        Tar::default()
            .raw(&Tar::header(b'L', b"././@LongLink", name.len() as u64 + 1), format!("{name}\0").as_bytes())
            .raw(&Tar::header(b'K', b"././@LongLink", target.len() as u64 + 1), format!("{target}\0").as_bytes())
            .symlink("cut", "cut"),
    );
    assert_eq!(laid.inode(&name).body, Body::Symlink(target.as_bytes().into()));
}

#[test]
fn sizes_beyond_the_field_are_read_from_extension_headers() {
    let mut header = Tar::header(b'0', b"f", 0);
    header.as_old_mut().size = *b"00000000000\0";
    let laid = Laid::of(Tar::default().pax(&[("size", b"5000")]).raw(&header, &[7; 5000]).file("next", b"x"));
    assert_eq!(laid.content("f"), [7; 5000]);
    assert_eq!(laid.content("next"), b"x");
}

/// 10 bytes at 0, a hole, 5000 bytes at 100 000, a hole up to 150 000.
fn sparse_content() -> (Vec<u8>, Vec<u8>) {
    let mut whole = vec![0; 150_000];
    whole[..10].fill(1);
    whole[100_000..105_000].fill(2);
    let stored = [&whole[..10], &whole[100_000..105_000]].concat();
    (whole, stored)
}

#[test]
fn all_formats_of_sparse_files_are_read() {
    let (whole, stored) = sparse_content();
    let mut bytes = *Tar::header(b'S', b"gnu", stored.len() as u64).as_bytes();
    bytes[257..265].copy_from_slice(b"ustar  \0");
    let mut gnu = tar::Header::from_byte_slice(&bytes).clone();
    let fields = gnu.as_gnu_mut().unwrap();
    for (part, (offset, length)) in fields.sparse.iter_mut().zip([(0, 10), (100_000, 5000), (150_000, 0)]) {
        part.offset.copy_from_slice(format!("{offset:011o}\0").as_bytes());
        part.numbytes.copy_from_slice(format!("{length:011o}\0").as_bytes());
    }
    fields.realsize.copy_from_slice(format!("{:011o}\0", 150_000).as_bytes());
    let mut mapped = b"2\n0\n10\n100000\n5000\n".to_vec();
    mapped.resize(512, 0);
    mapped.extend_from_slice(&stored);
    let laid = Laid::of(
        Tar::default()
            .raw(&gnu, &stored)
            .pax(&[
                ("GNU.sparse.size", b"150000"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.offset", b"0"),
                ("GNU.sparse.numbytes", b"10"),
                ("GNU.sparse.offset", b"100000"),
                ("GNU.sparse.numbytes", b"5000"),
            ])
            .file("pax00", &stored)
            .pax(&[
                ("GNU.sparse.name", b"pax01"),
                ("GNU.sparse.size", b"150000"),
                ("GNU.sparse.map", b"0,10,100000,5000"),
            ])
            .file("GNUSparseFile.0/pax01", &stored)
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"pax10"),
                ("GNU.sparse.realsize", b"150000"),
            ])
            .file("GNUSparseFile.0/pax10", &mapped),
    );
    for path in ["gnu", "pax00", "pax01", "pax10"] {
        assert_eq!(laid.content(path), whole, "{path}");
    }
    assert!(laid.data.len() < 80_000, "{} bytes of data: holes are written", laid.data.len());
}

#[test]
fn huge_sparse_files_take_large_chunks() {
    let tebibyte = 1_u64 << 40;
    let map = format!("{},3", tebibyte / 2 + 5);
    let laid = Laid::of(
        Tar::default()
            .pax(&[("GNU.sparse.size", tebibyte.to_string().as_bytes()), ("GNU.sparse.map", map.as_bytes())])
            .file("f", b"abc"),
    );
    let Body::File(Data::Sparse { size, bits, chunks }) = &laid.inode("f").body else { panic!() };
    assert_eq!((*size, chunks.len()), (tebibyte, 1 << 16));
    let chunk = 4096_u64 << bits;
    let start = u64::from(chunks[1 << 15].unwrap()) * 4096 + (tebibyte / 2 + 5) % chunk;
    assert_eq!(&laid.data[usize::try_from(start).unwrap()..][..3], b"abc");
    assert_eq!(chunks.iter().flatten().count(), 1);
}

#[test]
fn whiteouts_act_on_lower_layers_wherever_they_stand() {
    let laid = Laid::of(
        Tar::default()
            .file("a/.wh.gone", b"")
            .file("a/.wh.replaced", b"")
            .file("a/replaced", b"new")
            .file("a/kept", b"new")
            .file("a/.wh.kept", b"")
            .directory("b")
            .file(".wh.b", b"")
            .file(".wh.c", b"")
            .file("c/x", b"")
            .file("d/.wh..wh..opq", b"")
            .file(".wh..wh.plnk/1", b"aufs"),
    );
    let opaque = |path: &str| matches!(laid.inode(path).body, Body::Directory(Directory { opaque: true, .. }));
    assert_eq!(laid.inode("a/gone").body, Body::Whiteout);
    assert_eq!(laid.content("a/replaced"), b"new");
    assert_eq!(laid.content("a/kept"), b"new");
    assert!(opaque("b") && opaque("c") && opaque("d") && !opaque("a"));
    assert_eq!(laid.id(".wh..wh.plnk"), None);
}

#[test]
fn directories_may_come_twice_and_after_what_is_in_them() {
    let laid = Laid::of(Tar::default().file("a/b/f", b"x").directory("a/b").directory("a/b").directory("./"));
    let implied = |path: &str| matches!(laid.inode(path).body, Body::Directory(Directory { implied: true, .. }));
    assert!(implied("a") && !implied("a/b"));
    assert_eq!(laid.content("a/b/f"), b"x");
    assert_eq!(laid.tree.inode(ROOT).attributes.seconds, 1_600_000_000);
}

#[test]
fn archives_may_end_without_a_marker_and_have_anything_behind_it() {
    let whole = Tar::default().file("f", b"x");
    assert_eq!(lay_out(&whole.0, &Limits::default()).unwrap().content("f"), b"x");
    let mut more = whole.end();
    more.extend_from_slice(&[1; 5000]);
    assert_eq!(lay_out(&more, &Limits::default()).unwrap().content("f"), b"x");
    assert_eq!(lay_out(b"", &Limits::default()).unwrap().tree, Tree::default());
}

#[test]
fn an_archive_may_end_with_its_last_byte_of_content() {
    let archive = Tar::default().file("first", &[1; 700]).file("last", &[2; 700]).end();
    // Two headers, a first content in whole blocks, a second without what fills its block up.
    let content = 512 + 1024 + 512 + 700;
    assert!(lay_out(&archive[..content], &Limits::default()).is_ok());
    assert!(lay_out(&archive[..content + 100], &Limits::default()).is_ok());
    assert!(lay_out(&archive[..content - 1], &Limits::default()).is_err());
}
