//! An image goes to a registry and comes back.

use super::*;
use hull_image::registry::RegistryError;
use server::{Options, Server};

#[test]
fn an_image_goes_and_comes_back_the_same() {
    let server = Server::start(Options::default());
    let (here, there) = (place(), place());
    let made = image(&here.store, &[("a", b"one"), ("b", &noise(3 << 20, 1))]);
    let name = reference(&server.authority, "team/app:1.0");
    let sent = Recorder::default();
    let pushed = anonymous().push(&here.store, &made, &name, &sent).unwrap();
    assert_eq!((&pushed.digest, sent.ended(Phase::Done)), (made.manifest.digest(), 3));
    let got = Recorder::default();
    let pulled = anonymous().pull(&there.store, &name, &guest(), &got).unwrap();
    assert_eq!((&pulled.digest, &pulled.image.id), (&pushed.digest, &made.id));
    assert_eq!(got.ended(Phase::Done), 2);
    for name in ["team/app:1.0", &format!("team/app@{}", pushed.digest)] {
        let found = there.store.resolve(&format!("{}/{name}", server.authority)).unwrap();
        assert_eq!(found.id, made.id);
    }
    assert_eq!(there.store.resolve(made.id.as_ref()).unwrap().id, made.id);
    let (before, after) = (here.store.rootfs(&made).unwrap(), there.store.rootfs(&pulled.image).unwrap());
    assert_eq!(before.pieces.len(), after.pieces.len());
    for (before, after) in before.pieces.iter().zip(&after.pieces) {
        assert_eq!(std::fs::read(&before.path).unwrap(), std::fs::read(&after.path).unwrap());
    }
}

#[test]
fn what_is_there_is_not_transferred() {
    let server = Server::start(Options::default());
    let (here, there) = (place(), place());
    let base = image(&here.store, &[("base", &noise(1 << 20, 2))]);
    let name = reference(&server.authority, "base:1");
    anonymous().push(&here.store, &base, &name, &Quiet).unwrap();
    let again = Recorder::default();
    anonymous().push(&here.store, &base, &name, &again).unwrap();
    assert_eq!((again.ended(Phase::Exists), again.saw(Phase::Downloading)), (2, false));
    anonymous().pull(&there.store, &name, &guest(), &Quiet).unwrap();
    let again = Recorder::default();
    anonymous().pull(&there.store, &name, &guest(), &again).unwrap();
    assert_eq!((again.ended(Phase::Exists), again.saw(Phase::Downloading)), (1, false));
}

#[test]
fn a_layer_of_another_repository_is_mounted() {
    let server = Server::start(Options::default());
    let here = place();
    let client = anonymous();
    let base = image(&here.store, &[("base", &noise(1 << 20, 3))]);
    let first = reference(&server.authority, "first:1");
    client.push(&here.store, &base, &first, &Quiet).unwrap();
    here.store.tag(&base, &first).unwrap();
    let sent = Recorder::default();
    client.push(&here.store, &base, &reference(&server.authority, "second:1"), &sent).unwrap();
    // The layer is mounted, the configuration is sent.
    assert_eq!((sent.ended(Phase::Exists), sent.ended(Phase::Done)), (1, 1));
    let there = place();
    client.pull(&there.store, &reference(&server.authority, "second:1"), &guest(), &Quiet).unwrap();
    let log = server.log();
    assert!(log.contains("from=first") && log.contains("mount=sha256"), "{log}");
}

#[test]
fn a_digest_names_one_image_for_good() {
    let server = Server::start(Options::default());
    let here = place();
    let name = reference(&server.authority, "app:latest");
    let old = image(&here.store, &[("a", b"old")]);
    let digest = anonymous().push(&here.store, &old, &name, &Quiet).unwrap().digest;
    let new = image(&here.store, &[("a", b"new")]);
    anonymous().push(&here.store, &new, &name, &Quiet).unwrap();
    let there = place();
    assert_eq!(anonymous().pull(&there.store, &name, &guest(), &Quiet).unwrap().image.id, new.id);
    let pinned = name.with_digest(digest);
    assert_eq!(anonymous().pull(&there.store, &pinned, &guest(), &Quiet).unwrap().image.id, old.id);
    assert_eq!(there.store.resolve(&name.to_string()).unwrap().id, new.id);
    assert_eq!(there.store.images().unwrap().len(), 2);
}

#[test]
fn what_is_not_there_is_said() {
    let server = Server::start(Options::default());
    let there = place();
    let error =
        anonymous().pull(&there.store, &reference(&server.authority, "no/such:tag"), &guest(), &Quiet).unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{}", chain(&error));
    let other: Platform = if guest().architecture == "arm64" { "linux/amd64" } else { "linux/arm64" }.parse().unwrap();
    let here = place();
    let name = reference(&server.authority, "app:1");
    anonymous().push(&here.store, &image(&here.store, &[("a", b"x")]), &name, &Quiet).unwrap();
    let error = anonymous().pull(&there.store, &name, &other, &Quiet).unwrap_err();
    assert!(chain(&error).contains("not available for linux/"), "{}", chain(&error));
    assert!(there.store.images().unwrap().is_empty());
}

#[test]
fn two_pulls_at_once_end_with_one_image() {
    let server = Server::start(Options::default());
    let here = place();
    let made = image(&here.store, &[("a", &noise(4 << 20, 4)), ("b", &noise(4 << 20, 5))]);
    let name = reference(&server.authority, "app:1");
    anonymous().push(&here.store, &made, &name, &Quiet).unwrap();
    let there = place();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| anonymous().pull(&there.store, &name, &guest(), &Quiet).unwrap());
        }
    });
    assert_eq!(there.store.images().unwrap().len(), 1);
    let log = server.log();
    for layer in made.layers.iter() {
        let fetched =
            log.lines().filter(|line| line.contains("\"GET ") && line.contains(layer.descriptor.digest().digest()));
        assert_eq!(fetched.count(), 1, "{log}");
    }
}
