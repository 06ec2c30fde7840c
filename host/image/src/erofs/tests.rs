//! Images, read back by a reader that knows the format and nothing of the writer; and by `fsck.erofs`, where it is
//! installed.

pub(crate) mod reader;

use self::reader::Reader;
use super::*;
use crate::layer::tests::{Laid, Tar};
use std::process::Command;

/// The data of layers, in memory.
struct Memory(Vec<Vec<u8>>);

impl DataFiles for Memory {
    fn blocks(&self) -> Vec<u32> {
        self.0.iter().map(|data| u32::try_from(data.len() / BLOCK).unwrap()).collect()
    }

    fn read(&self, data_file: u32, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.0[data_file as usize][offset..offset + buffer.len()]);
        Ok(())
    }
}

/// An image of layers: metadata and data in one.
fn image(layers: impl IntoIterator<Item = Tar>) -> Reader {
    let mut tree = Image::new(100_000);
    let mut data = Vec::new();
    for (number, layer) in layers.into_iter().enumerate() {
        let laid = Laid::of(layer);
        tree.apply(laid.tree, u32::try_from(number).unwrap()).unwrap();
        data.push(laid.data);
    }
    let memory = Memory(data);
    let mut bytes = Vec::new();
    let length = write(&tree, &memory, [7; 16], &mut bytes).unwrap();
    assert_eq!(length, bytes.len() as u64);
    bytes.extend(memory.0.concat());
    check(&bytes);
    Reader::new(bytes)
}

/// Asks `fsck.erofs`.
fn check(image: &[u8]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), image).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let extract = format!("--extract={}", directory.path().join("out").display());
    match Command::new("fsck.erofs").arg(extract).arg("--no-preserve").arg(file.path()).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => eprintln!("not asked: fsck.erofs is not installed (Debian: erofs-utils)"),
    }
}

use crate::tree::Image;

#[test]
fn files_of_several_layers_are_found() {
    let large = vec![5; 10_000];
    let lower = Tar::default().directory("d").file("d/small", b"one").file("d/large", &large).file("gone", b"");
    let upper =
        Tar::default().file("d/small2", b"two").file("d/large2", &[6; 5000]).file(".wh.gone", b"").file("empty", b"");
    let image = image([lower, upper]);
    assert_eq!(image.names("/"), [".", "..", "d", "empty"]);
    assert_eq!(image.names("/d"), [".", "..", "large", "large2", "small", "small2"]);
    assert_eq!(image.content("/d/small"), b"one");
    assert_eq!(image.content("/d/large"), large);
    assert_eq!(image.content("/d/small2"), b"two");
    assert_eq!(image.content("/d/large2"), [6; 5000]);
    assert_eq!(image.content("/empty"), b"");
    assert_eq!(image.inode("/d/small").links, 1);
    assert_eq!((image.inode("/").links, image.inode("/d").links), (3, 2));
}

#[test]
fn small_files_lie_in_their_layer_unless_they_have_several_names() {
    let lower = Tar::default().file("single", b"x").file("linked", b"y");
    let image = image([lower, Tar::default().hard_link("other", "linked")]);
    let metadata = image.metadata_bytes();
    assert!(image.offset("/single") >= metadata);
    assert!(image.offset("/linked") < metadata);
    assert_eq!(image.offset("/linked"), image.offset("/other"));
    assert_eq!((image.inode("/linked").links, image.content("/other")), (2, b"y".to_vec()));
}

#[test]
fn directories_of_all_sizes_are_sorted_within_and_across_blocks() {
    for count in [0, 1, 100, 170, 171, 3000] {
        let files =
            (0..count).fold(Tar::default().directory("d"), |tar, number| tar.file(&format!("d/{number:08}"), b""));
        let image = image([files.file("d/!before-the-dots", b"").file("d/.hidden", b"").file("d/...", b"")]);
        let names = image.names("/d");
        assert_eq!(names.len(), count + 5);
        assert!(names.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()), "{count}");
        assert_eq!(names[..4], ["!before-the-dots", ".", "..", "..."]);
    }
}

#[test]
fn links_devices_and_attributes_are_kept() {
    let mut device = Tar::header(b'4', b"dev", 0);
    device.set_mode(0o600);
    device.set_device_major(259).unwrap();
    device.set_device_minor(0xabcde).unwrap();
    let image = image([Tar::default()
        .symlink("short", "../somewhere")
        .pax(&[("linkpath", &[b'x'; 4000])])
        .symlink("long", "")
        .raw(&device, b"")
        .raw(&Tar::header(b'6', b"fifo", 0), b"")
        .pax(&[("uid", b"4000000000"), ("gid", b"65536"), ("mtime", b"-1.25")])
        .file("owned", &[1; 100_000])]);
    assert_eq!(image.content("/short"), b"../somewhere");
    assert_eq!(image.content("/long"), [b'x'; 4000]);
    let device = image.inode("/dev");
    // Linux: 12 bits of major from bit 8, the minor's low byte below and the rest above.
    assert_eq!((device.mode, device.place), (0o060_600, 0xabc0_0000 | 0x0001_03de));
    assert_eq!(image.inode("/fifo").mode, 0o010_644);
    let owned = image.inode("/owned");
    assert_eq!((owned.uid, owned.gid, owned.seconds, owned.nanoseconds), (4_000_000_000, 65_536, -2, 750_000_000));
    assert_eq!(image.inode("/").mode, 0o040_755);
}

#[test]
fn extended_attributes_are_inline_and_shared() {
    let capability = b"\x01\0\0\x02\0\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let with = |tar: Tar, name: &str, size: usize| {
        tar.pax(&[("SCHILY.xattr.security.capability", capability), ("SCHILY.xattr.user.name", name.as_bytes())])
            .file(name, &vec![1; size])
    };
    let tar = with(with(with(Tar::default(), "a", 9000), "b", 9000), "small", 9);
    let large = vec![3; 60_000];
    let image = image([tar
        .pax(&[("SCHILY.xattr.user.large", &large), ("SCHILY.xattr.system.posix_acl_access", b"\x02\0\0\0")])
        .directory("d")
        .pax(&[("SCHILY.xattr.user.large", &large)])
        .symlink("s", &"t".repeat(90))]);
    for name in ["a", "b", "small"] {
        let xattrs = image.xattrs(&format!("/{name}"));
        assert_eq!(xattrs[..1], [("security.capability".to_owned(), capability.to_vec())]);
        assert_eq!(xattrs[1..], [("user.name".to_owned(), name.as_bytes().to_vec())]);
    }
    assert_eq!(image.shared_attributes("/a"), 1);
    assert_eq!(image.shared_attributes("/small"), 0);
    let expected = [("system.posix_acl_access".to_owned(), b"\x02\0\0\0".to_vec()), ("user.large".to_owned(), large)];
    assert_eq!(image.xattrs("/d"), expected);
    assert_eq!(image.xattrs("/s"), expected[1..]);
    assert_eq!(image.xattrs("/"), []);
}

#[test]
fn sparse_files_have_holes() {
    let map = "8192,4096,1000000,10";
    let stored = [&[1; 4096][..], &[2; 10]].concat();
    let image = image([Tar::default()
        .file("before", &[9; 5000])
        .pax(&[("GNU.sparse.size", b"2000000"), ("GNU.sparse.map", map.as_bytes())])
        .file("sparse", &stored)]);
    let content = image.content("/sparse");
    assert_eq!(content.len(), 2_000_000);
    assert_eq!(content[8192..8192 + 4096], [1; 4096]);
    assert_eq!(content[1_000_000..1_000_010], [2; 10]);
    assert_eq!(content.iter().filter(|byte| **byte != 0).count(), 4106);
}

#[test]
fn an_image_without_anything_is_one() {
    let image = image([]);
    assert_eq!(image.names("/"), [".", ".."]);
    assert_eq!(image.metadata_bytes(), 2 * BLOCK as u64);
}

#[test]
fn contents_outside_the_data_are_refused() {
    let laid = Laid::of(Tar::default().file("f", &[1; 10_000]));
    let mut tree = Image::new(10);
    tree.apply(laid.tree, 0).unwrap();
    let cut = Memory(vec![laid.data[..4096].to_vec()]);
    assert!(matches!(write(&tree, &cut, [0; 16], io::sink()), Err(ErofsError::Content)));
    assert!(matches!(write(&tree, &Memory(Vec::new()), [0; 16], io::sink()), Err(ErofsError::Content)));
}
