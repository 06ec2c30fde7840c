//! What other tools push is pulled, and what hull pushes they pull: skopeo is the other tool.

use super::*;
use hull_image::archive::{Format, Source, load, save, save_directory};
use server::{Options, Server};
use std::path::Path;
use std::process::Command;

fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo")
        .args(["--insecure-policy"])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("skopeo: {error}; this test needs Debian's package of that name"));
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn named(image: &StoredImage, name: &Reference) -> Vec<(StoredImage, Vec<Reference>)> {
    vec![(image.clone(), vec![name.clone()])]
}

fn save_to(path: &Path, store: &Store, images: &[(StoredImage, Vec<Reference>)], format: Format) {
    let images = images.iter().map(|(image, names)| (image, names.clone())).collect::<Vec<_>>();
    save(store, &images, format, std::fs::File::create(path).unwrap()).unwrap();
}

#[test]
fn what_skopeo_pushes_is_pulled_and_the_other_way_round() {
    let server = Server::start(Options::default());
    let (here, directory) = (place(), tempfile::tempdir().unwrap());
    let made = image(&here.store, &[("a", b"one"), ("b", &noise(100_000, 7))]);
    let name = reference(&server.authority, "hull/app:1");
    anonymous().push(&here.store, &made, &name, &Quiet).unwrap();
    let from = format!("docker://{name}");
    let inspected = skopeo(&["inspect", "--tls-verify=false", &from]);
    assert!(inspected.contains(&made.manifest.digest().to_string()), "{inspected}");
    let layout = format!("oci:{}:x", directory.path().join("layout").display());
    skopeo(&["copy", "--src-tls-verify=false", &from, &layout]);
    // Compressed, as Docker's schema 2.
    let docker = format!("docker://{}/skopeo/app:2", server.authority);
    skopeo(&["copy", "--dest-tls-verify=false", "--dest-compress", "--format", "v2s2", &layout, &docker]);
    let there = place();
    let pulled =
        anonymous().pull(&there.store, &reference(&server.authority, "skopeo/app:2"), &guest(), &Quiet).unwrap();
    assert!(pulled.image.manifest.media_type().to_string().contains("docker"), "{:?}", pulled.image.manifest);
    let diff_ids = |image: &StoredImage| image.configuration.rootfs().diff_ids().clone();
    assert_eq!(diff_ids(&pulled.image), diff_ids(&made));
}

#[test]
fn an_index_gives_the_image_for_the_platform() {
    let server = Server::start(Options::default());
    let (here, directory) = (place(), tempfile::tempdir().unwrap());
    let mut made = Vec::new();
    for platform in ["linux/amd64", "linux/arm64", "linux/arm/v7"] {
        let recipe = Recipe { platform: Some(platform.parse().unwrap()), ..Recipe::default() };
        let name = Reference::parse(&format!("multi:{}", platform.replace('/', "-"))).unwrap();
        made.push(build(&here.store, None, &layer("f", platform.as_bytes())[..], recipe, &[name], &Quiet).unwrap());
    }
    let layout = directory.path().join("layout");
    let images = made.iter().map(|image| (image, Vec::new())).collect::<Vec<_>>();
    save_directory(&here.store, &images, Format::Oci, &layout).unwrap();
    let index = write_index(&layout, &made);
    let name = reference(&server.authority, "multi:1");
    skopeo(&[
        "copy",
        "--all",
        "--preserve-digests",
        "--dest-tls-verify=false",
        &format!("oci:{}:multi", layout.display()),
        &format!("docker://{name}"),
    ]);
    for (platform, image) in ["linux/amd64", "linux/arm64", "linux/arm/v7"].iter().zip(&made) {
        let there = place();
        let pulled = anonymous().pull(&there.store, &name, &platform.parse().unwrap(), &Quiet).unwrap();
        assert_eq!((&pulled.image.id, &pulled.digest), (&image.id, &index));
        let by_index = there.store.resolve(&format!("{}/multi@{index}", server.authority)).unwrap();
        assert_eq!(by_index.id, image.id);
    }
    let error = anonymous().pull(&place().store, &name, &"linux/s390x".parse().unwrap(), &Quiet).unwrap_err();
    assert!(chain(&error).contains("it is for: linux/amd64, linux/arm64, linux/arm/v7"), "{}", chain(&error));
    // The same from the layout itself.
    for (platform, image) in ["linux/amd64", "linux/arm64"].iter().zip(&made) {
        let there = place();
        let loaded = load(&there.store, Source::Directory(layout.clone()), &platform.parse().unwrap(), &Quiet).unwrap();
        assert_eq!((loaded.len(), &loaded[0].image.id), (1, &image.id));
    }
}

/// Makes one index of a layout's images, and the layout's only entry; returns its digest.
fn write_index(layout: &Path, images: &[StoredImage]) -> Digest {
    let entry = |image: &StoredImage| {
        let platform = Platform::of_configuration(&image.configuration);
        let mut said = serde_json::json!({"os": platform.os, "architecture": platform.architecture});
        if !platform.variant.is_empty() {
            said["variant"] = platform.variant.into();
        }
        let manifest = &image.manifest;
        serde_json::json!({
            "mediaType": manifest.media_type(), "size": manifest.size(), "digest": manifest.digest(), "platform": said
        })
    };
    let kind = "application/vnd.oci.image.index.v1+json";
    let entries = images.iter().map(entry).collect::<Vec<_>>();
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries});
    let bytes = serde_json::to_vec(&index).unwrap();
    let digest = hull_image::manifest::digest_of(&bytes);
    std::fs::write(layout.join("blobs/sha256").join(digest.digest()), &bytes).unwrap();
    let named = serde_json::json!({"org.opencontainers.image.ref.name": "multi"});
    let top = serde_json::json!({"schemaVersion": 2, "manifests": [
        {"mediaType": kind, "size": bytes.len(), "digest": digest, "annotations": named}
    ]});
    std::fs::write(layout.join("index.json"), serde_json::to_vec(&top).unwrap()).unwrap();
    digest
}

#[test]
fn archives_are_exchanged_with_skopeo() {
    let (here, directory) = (place(), tempfile::tempdir().unwrap());
    let made = image(&here.store, &[("a", b"one"), ("b", &noise(100_000, 8))]);
    let name = Reference::parse("localhost/app:1").unwrap();
    let (ours, theirs) = (directory.path().join("ours.tar"), directory.path().join("theirs.tar"));
    save_to(&ours, &here.store, &named(&made, &name), Format::Docker);
    skopeo(&[
        "copy",
        &format!("docker-archive:{}", ours.display()),
        &format!("docker-archive:{}:{name}", theirs.display()),
    ]);
    let there = place();
    let loaded = load(&there.store, Source::File(theirs), &guest(), &Quiet).unwrap();
    assert_eq!((&loaded[0].image.id, &loaded[0].names), (&made.id, &vec![name]));
    for format in [Format::Docker, Format::Oci] {
        save_to(&ours, &here.store, &named(&made, &loaded[0].names[0]), format);
        let layout = directory.path().join(format!("{format:?}"));
        skopeo(&[
            "copy",
            "--preserve-digests",
            &format!("oci-archive:{}", ours.display()),
            &format!("oci:{}:x", layout.display()),
        ]);
        let there = place();
        let loaded = load(&there.store, Source::Directory(layout), &guest(), &Quiet).unwrap();
        assert_eq!((&loaded[0].image.id, loaded[0].image.manifest.digest()), (&made.id, made.manifest.digest()));
    }
}
