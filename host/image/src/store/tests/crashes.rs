//! Deaths at any instant: a child process imports and prunes, and is killed; what was committed is still there, and what
//! it left behind goes.

use super::*;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "HULL_IMAGE_TEST_STORE";

fn layers() -> Vec<Layer> {
    let noise = |seed: u32| (0..60_000_u32).map(move |at| (at ^ seed).wrapping_mul(2_654_435_761).to_le_bytes()[3]);
    let layer = |seed: u32| {
        let archive =
            Tar::default().file(&format!("f{seed}"), &noise(seed).collect::<Vec<_>>()).file("small", b"x").end();
        Layer::new(&archive, gzip(&archive))
    };
    (1..4).map(layer).collect()
}

/// The part of the child: not a test unless it was started as one.
#[test]
fn child() {
    let Some(root) = std::env::var_os(CHILD) else { return };
    let store = Store::open(root.as_ref()).unwrap();
    image_in(&store, &["new", "kept"], &layers()).unwrap();
    store.remove("new", Conflicts::Refuse, &nobody).unwrap();
    image_in(&store, &["kept"], &layers()[..1]).unwrap();
    store.prune(Prune::Nameless, &|_| true, &nobody).unwrap();
}

fn start(root: &Path) -> std::process::Child {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", "store::tests::crashes::child"]).env(CHILD, root);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// How long the child takes if it is left alone.
fn duration() -> Duration {
    let fixture = Fixture::new();
    let start_time = Instant::now();
    assert!(start(fixture.store.root()).wait().unwrap().success());
    start_time.elapsed()
}

#[test]
fn nothing_that_was_committed_is_lost() {
    const POINTS: u32 = 40;
    let all = duration();
    let fixture = Fixture::new();
    let old = fixture.image(&["old"], &layers()[2..]);
    for point in 0..POINTS {
        let mut child = start(fixture.store.root());
        // The instants are spread over the child's life: no place in the code is exempt.
        std::thread::sleep(all * point / POINTS);
        drop(child.kill());
        child.wait().unwrap();
        check(&fixture, &old);
    }
    assert!(start(fixture.store.root()).wait().unwrap().success());
    fixture.prune();
    check(&fixture, &old);
    assert_eq!(fixture.names(), ["kept:latest", "old:latest"]);
    assert_eq!(fixture.contents(), (2 + 2 + 2, 2, 2));
}

/// Every image that has a name is whole.
fn check(fixture: &Fixture, old: &StoredImage) {
    let store = Store::open(fixture.store.root()).unwrap();
    assert_eq!(store.resolve("old").unwrap().id, old.id);
    for image in store.images().unwrap() {
        let rootfs = store.rootfs(&image).unwrap();
        crate::erofs::tests::reader::Reader::new(whole(&rootfs));
        for layer in &image.layers {
            store.read_blob(layer.descriptor.digest(), 1 << 30).unwrap();
        }
    }
    assert!(fixture.directory.path().exists());
}
