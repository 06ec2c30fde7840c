//! Layers upon layers.

use super::*;
use crate::layer::tests::{Laid, Tar};

/// The paths of an image's files and directories, directories with a slash; what is a link says where.
fn listing(image: &Image) -> Vec<String> {
    let mut paths = Vec::new();
    let mut open = vec![(ROOT, String::new())];
    while let Some((id, path)) = open.pop() {
        for (name, child) in &image.tree().inode(id).directory().unwrap().children {
            let path = format!("{path}{}", String::from_utf8_lossy(name.as_bytes()));
            match &image.tree().inode(*child).body {
                Body::Directory(_) => {
                    paths.push(format!("{path}/"));
                    open.push((*child, format!("{path}/")));
                }
                Body::Symlink(target) => paths.push(format!("{path}->{}", String::from_utf8_lossy(target))),
                Body::File(_) => paths.push(format!("{path}={}", image.data_file(*child))),
                other => panic!("{other:?} in an image"),
            }
        }
    }
    paths.sort();
    paths
}

fn merged(layers: impl IntoIterator<Item = Tar>) -> Result<Image, MergeError> {
    let mut image = Image::new(1000);
    for (number, layer) in layers.into_iter().enumerate() {
        image.apply(Laid::of(layer).tree, u32::try_from(number).unwrap())?;
    }
    Ok(image)
}

fn list<const N: usize>(layers: [Tar; N]) -> Vec<String> {
    listing(&merged(layers).unwrap())
}

#[test]
fn upper_files_replace_lower_ones_and_whiteouts_remove_them() {
    let lower = Tar::default().file("a/kept", b"").file("a/gone", b"").file("a/new", b"1").file("b/c/d", b"");
    let upper = Tar::default().file("a/.wh.gone", b"").file("a/new", b"2").file(".wh.b", b"").file(".wh.never", b"");
    assert_eq!(list([lower, upper]), ["a/", "a/kept=0", "a/new=1"]);
}

#[test]
fn opaque_directories_hide_what_is_below() {
    let lower = || Tar::default().file("a/old", b"").file("a/sub/old", b"");
    let opaque = Tar::default().file("a/new", b"").file("a/.wh..wh..opq", b"");
    assert_eq!(list([lower(), opaque]), ["a/", "a/new=1"]);
    let replaced = Tar::default().file(".wh.a", b"").file("a/new", b"");
    assert_eq!(list([lower(), replaced]), ["a/", "a/new=1"]);
    let root = Tar::default().file(".wh..wh..opq", b"").file("x", b"");
    assert_eq!(list([lower(), root]), ["x=1"]);
}

#[test]
fn files_and_directories_take_each_others_place() {
    let lower = || Tar::default().file("d/f", b"").file("f", b"").symlink("s", "d");
    assert_eq!(list([lower(), Tar::default().file("d", b"")]), ["d=1", "f=0", "s->d"]);
    assert_eq!(list([lower(), Tar::default().directory("f").file("f/x", b"")]), ["d/", "d/f=0", "f/", "f/x=1", "s->d"]);
    // A directory that the archive describes replaces a link; one that it only passes through does not.
    assert_eq!(list([lower(), Tar::default().directory("s").file("s/x", b"")]), ["d/", "d/f=0", "f=0", "s/", "s/x=1"]);
}

#[test]
fn directories_that_are_passed_through_keep_attributes_and_links() {
    let lower = || {
        Tar::default().directory("usr/bin").symlink("bin", "usr/bin").symlink("abs", "/usr").symlink("up", "../../bin")
    };
    let upper = Tar::default().file("bin/a", b"").file("abs/bin/b", b"").file("up/c", b"").file("bin/.wh.d", b"");
    let expected =
        ["abs->/usr", "bin->usr/bin", "up->../../bin", "usr/", "usr/bin/", "usr/bin/a=1", "usr/bin/b=1", "usr/bin/c=1"];
    assert_eq!(list([lower(), upper]), expected);
    let image = merged([lower(), Tar::default().file("usr/bin/x", b"")]).unwrap();
    let bin = image.find(&["usr", "bin"].map(|name| Name::new(name.as_bytes()).unwrap())).unwrap();
    assert_eq!(image.tree().inode(bin).attributes.seconds, 1_600_000_000);
}

#[test]
fn links_that_lead_nowhere_or_in_circles_are_replaced() {
    let lower = Tar::default().symlink("a", "b").symlink("b", "a").symlink("c", "nowhere").symlink("d", "d/d/d");
    let upper = Tar::default().file("a/x", b"").file("c/x", b"").file("d/x", b"");
    assert_eq!(list([lower, upper]), ["a/", "a/x=1", "b->a", "c/", "c/x=1", "d/", "d/x=1"]);
}

#[test]
fn hard_links_reach_into_lower_layers() {
    let lower = Tar::default().file("lib/x", b"content").symlink("l", "lib");
    let upper =
        Tar::default().hard_link("y", "lib/x").hard_link("z", "l/x").hard_link("w", "y").file("lib/x", b"other");
    let image = merged([lower, upper]).unwrap();
    assert_eq!(listing(&image), ["l->lib", "lib/", "lib/x=1", "w=0", "y=0", "z=0"]);
    let id = |name: &str| image.find(&[Name::new(name.as_bytes()).unwrap()]).unwrap();
    assert_eq!((id("y"), id("y")), (id("z"), id("w")));
}

#[test]
fn hard_links_to_nothing_are_refused() {
    for target in ["nothing", "d", "d/f/x", "loop/x"] {
        let lower = Tar::default().file("d/f", b"").symlink("loop", "loop");
        let error = merged([lower, Tar::default().hard_link("y", target)]).unwrap_err();
        assert_eq!(error, MergeError::LinkTarget { layer: 2, target: target.to_owned() });
    }
    assert!(merged([Tar::default().hard_link("y", "later").file("later", b"")]).is_err());
}

#[test]
fn more_files_than_the_limit_are_refused() {
    let layer = |from: u32| (from..from + 400).fold(Tar::default(), |tar, number| tar.file(&number.to_string(), b""));
    assert!(merged([layer(0), layer(400)]).is_ok());
    assert!(matches!(merged([layer(0), layer(400), layer(800)]), Err(MergeError::TooMany { limit: 1000 })));
    let links = (0..990).fold(Tar::default(), |tar, number| tar.hard_link(&format!("l{number}"), "1"));
    assert!(matches!(merged([layer(0), links]), Err(MergeError::TooMany { .. })));
}

#[test]
fn unsound_trees_are_found_out() {
    let name = |text: &str| Name::new(text.as_bytes()).unwrap();
    let directory = |children: &[(&str, u32)]| {
        let children = children.iter().map(|(text, id)| (name(text), InodeId(*id))).collect();
        Inode {
            attributes: Attributes::default(),
            body: Body::Directory(Directory { children, ..Directory::default() }),
        }
    };
    assert!(Tree::default().is_sound());
    for inodes in [
        vec![],
        vec![Inode { attributes: Attributes::default(), body: Body::Fifo }],
        vec![directory(&[("a", 1)])],
        vec![directory(&[("a", 0)])],
        vec![directory(&[("a", 1), ("b", 1)]), directory(&[])],
        vec![directory(&[("a", 1)]), directory(&[("b", 2)]), directory(&[("c", 1)])],
    ] {
        assert!(!Tree { inodes: inodes.clone() }.is_sound(), "{inodes:?}");
    }
}
