//! Images in files: loading what others write, saving and loading again, importing, and archives that lie.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in helpers too")]

use flate2::Compression;
use flate2::write::GzEncoder;
use hull_image::archive::{ArchiveError, Format, Loaded, Recipe, Source, build, load, save, save_directory};
use hull_image::manifest::digest_of;
use hull_image::oci_spec::image::Config;
use hull_image::platform::Platform;
use hull_image::progress::Quiet;
use hull_image::{Reference, Store, StoredImage};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

struct Place {
    store: Store,
    directory: TempDir,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    Place { store: Store::open(&directory.path().join("images")).unwrap(), directory }
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        match name.split_once("->") {
            Some((name, target)) => {
                header.set_entry_type(tar::EntryType::Symlink);
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

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn configuration(diff_ids: &[&[u8]]) -> Vec<u8> {
    let platform = Platform::of_guest();
    let diff_ids = diff_ids.iter().map(|layer| digest_of(layer)).collect::<Vec<_>>();
    let value = json!({
        "architecture": platform.architecture, "os": platform.os, "config": {"Cmd": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}
    });
    serde_json::to_vec(&value).unwrap()
}

fn list(value: serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(&value).unwrap()
}

fn load_bytes(store: &Store, bytes: &[u8]) -> Result<Vec<Loaded>, ArchiveError> {
    load(store, Source::Stream(&mut &*bytes), &Platform::of_guest(), &Quiet)
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

fn made(store: &Store, file: &str, text: &str, base: Option<&StoredImage>) -> StoredImage {
    let layer = tar(&[(file, text.as_bytes())]);
    let name = Reference::parse(&format!("made:{file}")).unwrap();
    build(store, base, &layer[..], Recipe::default(), &[name], &Quiet).unwrap()
}

#[test]
fn an_old_docker_archive_is_loaded() {
    let (base, top) = (tar(&[("a", b"1")]), tar(&[("b", b"2")]));
    let config = configuration(&[&base, &top, &base]);
    let listed = list(json!([{
        "Config": "abc.json", "RepoTags": ["one:1", "localhost:5000/two"],
        "Layers": ["x/layer.tar", "y/layer.tar", "z/layer.tar"]
    }]));
    // As Docker wrote it: a repeated layer is a link, and the list comes last.
    let archive = tar(&[
        ("x/layer.tar", &base),
        ("y/layer.tar", &top),
        ("z/layer.tar->../x/layer.tar", b""),
        ("abc.json", &config),
        ("manifest.json", &listed),
        ("repositories", b"{}"),
    ]);
    for bytes in [archive.clone(), gzip(&archive)] {
        let place = place();
        let loaded = load_bytes(&place.store, &bytes).unwrap();
        assert_eq!(loaded[0].image.id, digest_of(&config));
        for name in ["one:1", "localhost:5000/two:latest"] {
            assert_eq!(place.store.resolve(name).unwrap().id, digest_of(&config));
        }
        assert!(place.store.rootfs(&loaded[0].image).unwrap().length() > 0);
    }
}

#[test]
fn compressed_layers_of_a_docker_archive_are_taken_too() {
    let layer = tar(&[("a", &[7; 10_000])]);
    let config = configuration(&[&layer]);
    let listed = list(json!([{"Config": "c", "RepoTags": null, "Layers": ["l"]}]));
    let place = place();
    let archive = tar(&[("c", &config), ("l", &gzip(&layer)), ("manifest.json", &listed)]);
    let loaded = load_bytes(&place.store, &archive).unwrap();
    assert_eq!((&loaded[0].image.id, loaded[0].names.len()), (&digest_of(&config), 0));
    assert_eq!(*loaded[0].image.layers[0].descriptor.digest(), digest_of(&gzip(&layer)));
}

#[test]
fn what_is_saved_is_loaded_the_same() {
    let here = place();
    let base = made(&here.store, "base", "b", None);
    let (one, two) = (made(&here.store, "one", "1", Some(&base)), made(&here.store, "two", "2", Some(&base)));
    let names = |texts: &[&str]| texts.iter().map(|text| Reference::parse(text).unwrap()).collect::<Vec<_>>();
    let images = [(&one, names(&["one:1", "r.example/one:x"])), (&two, Vec::new())];
    for format in [Format::Docker, Format::Oci] {
        let mut bytes = Vec::new();
        save(&here.store, &images, format, &mut bytes).unwrap();
        let mut again = Vec::new();
        save(&here.store, &images, format, &mut again).unwrap();
        assert!(bytes == again, "two archives of the same images differ");
        let directory = here.directory.path().join(format!("{format:?}"));
        save_directory(&here.store, &images, format, &directory).unwrap();
        let file = here.directory.path().join("saved.tar");
        std::fs::write(&file, &bytes).unwrap();
        let sources = [Source::File(file), Source::Directory(directory.clone()), Source::Stream(&mut &bytes[..])];
        for source in sources {
            let there = place();
            let loaded = load(&there.store, source, &Platform::of_guest(), &Quiet).unwrap();
            let manifests = loaded.iter().map(|loaded| loaded.image.manifest.digest().clone()).collect::<Vec<_>>();
            assert_eq!(manifests, [one.manifest.digest().clone(), two.manifest.digest().clone()]);
            assert_eq!((&loaded[0].names, loaded[1].names.len()), (&images[0].1, 0));
            assert_eq!(there.store.resolve("one:1").unwrap().id, one.id);
        }
        let error = save_directory(&here.store, &images, format, &directory).unwrap_err();
        assert!(chain(&error).contains("not empty"), "{}", chain(&error));
    }
}

#[test]
fn dockers_list_alone_gives_the_same_image() {
    let here = place();
    let image = made(&here.store, "one", "1", None);
    let name = Reference::parse("one:1").unwrap();
    let directory = here.directory.path().join("saved");
    save_directory(&here.store, &[(&image, vec![name])], Format::Docker, &directory).unwrap();
    std::fs::remove_file(directory.join("index.json")).unwrap();
    let there = place();
    let loaded = load(&there.store, Source::Directory(directory), &Platform::of_guest(), &Quiet).unwrap();
    assert_eq!(loaded[0].image.id, image.id);
    assert_eq!(there.store.resolve("one:1").unwrap().id, image.id);
}

#[test]
fn a_tar_of_files_becomes_an_image() {
    let place = place();
    let mut config = Config::default();
    config.set_cmd(Some(vec!["/bin/sh".to_owned()]));
    let recipe = Recipe { config, comment: Some("Imported from -".to_owned()), ..Recipe::default() };
    let name = Reference::parse("imported").unwrap();
    let files = tar(&[("etc/x", b"1")]);
    let image = build(&place.store, None, &gzip(&files)[..], recipe, std::slice::from_ref(&name), &Quiet).unwrap();
    assert_eq!(image.configuration.rootfs().diff_ids(), &[digest_of(&files).to_string()]);
    assert_eq!(image.configuration.config().as_ref().unwrap().cmd().as_ref().unwrap(), &["/bin/sh"]);
    assert_eq!(place.store.resolve("imported:latest").unwrap().id, image.id);
    assert_eq!(image.names, [name]);
}

#[test]
fn commit_adds_a_layer() {
    let place = place();
    let base = made(&place.store, "a", "1", None);
    let upon = made(&place.store, "b", "2", Some(&base));
    assert_eq!(upon.layers[0], base.layers[0]);
    assert_eq!((upon.layers.len(), upon.configuration.history().as_ref().unwrap().len()), (2, 2));
}

/// Loads what must not be loaded, and sees that nothing of it is there.
fn refused(archive: &[u8], what: &str) {
    let place = place();
    let error = load_bytes(&place.store, archive).unwrap_err();
    let text = chain(&error);
    assert!(text.contains(what), "{text:?} does not speak of {what:?}");
    assert!(place.store.images().unwrap().is_empty());
    let leftovers = std::fs::read_dir(place.store.root().join("imports")).unwrap().count();
    assert_eq!(leftovers, 0, "{text}");
}

#[test]
fn archives_that_lie_are_refused() {
    let layer = tar(&[("a", b"1")]);
    let config = configuration(&[&layer]);
    let with = |listed: serde_json::Value| tar(&[("c", &config), ("l", &layer), ("manifest.json", &list(listed))]);
    refused(&tar(&[("etc/passwd", b"x")]), "holds no images");
    refused(&[], "holds no images");
    refused(b"not a tar at all, whatever its name may be, and long enough for a header", "holds no images");
    refused(&vec![b'x'; 5000], "no header of a tar");
    refused(&with(json!({})), "malformed");
    refused(&with(json!([])), "holds no images");
    refused(&with(json!([{"Config": "../../etc/passwd", "Layers": ["l"]}])), "missing");
    refused(&with(json!([{"Config": "absent", "Layers": ["l"]}])), "\"absent\" is missing");
    refused(&with(json!([{"Config": "c", "Layers": ["absent"]}])), "\"absent\" is missing");
    refused(&with(json!([{"Config": "c", "Layers": []}])), "0 layers");
    refused(&with(json!([{"Config": "l", "Layers": ["l"]}])), "malformed");
    refused(&with(json!([{"Config": "c", "Layers": ["l"], "RepoTags": ["Not A Name"]}])), "invalid reference");
    // Another layer than the configuration promises.
    let other = tar(&[("a", b"2")]);
    let listed = list(json!([{"Config": "c", "Layers": ["l"]}]));
    refused(&tar(&[("c", &config), ("l", &other), ("manifest.json", &listed)]), "other content");
    let whole = with(json!([{"Config": "c", "Layers": ["l"]}]));
    load_bytes(&place().store, &whole).unwrap();
    refused(&whole[..1800], "breaks off");
    refused(&gzip(&whole)[..200], "cannot read the archive");
}

#[test]
fn layouts_that_lie_are_refused() {
    let here = place();
    let image = made(&here.store, "one", "1", None);
    let spoil = |what: &dyn Fn(&Path)| {
        let directory = tempfile::tempdir().unwrap();
        let layout = directory.path().join("layout");
        save_directory(&here.store, &[(&image, Vec::new())], Format::Oci, &layout).unwrap();
        what(&layout);
        let there = place();
        let error = load(&there.store, Source::Directory(layout), &Platform::of_guest(), &Quiet).unwrap_err();
        assert!(there.store.images().unwrap().is_empty());
        chain(&error)
    };
    let blob = |layout: &Path, hex: &str| layout.join("blobs/sha256").join(hex);
    let manifest = image.manifest.digest().digest();
    let layer = image.layers[0].descriptor.digest().digest();
    let text = spoil(&|layout| std::fs::remove_file(blob(layout, layer)).unwrap());
    assert!(text.contains("is missing"), "{text}");
    for (hex, what) in [(manifest, "has the digest"), (image.id.digest(), "has the digest"), (layer, "other content")] {
        let text = spoil(&|layout| {
            let path = blob(layout, hex);
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(path, bytes).unwrap();
        });
        assert!(text.contains(what), "{text}");
    }
    let text = spoil(&|layout| std::fs::write(layout.join("index.json"), "{").unwrap());
    assert!(text.contains("malformed"), "{text}");
    let cycle = spoil(&|layout| {
        // An index cannot hold its own digest; a chain of indexes can be long.
        let mut inner = json!({"mediaType": image.manifest.media_type(), "size": image.manifest.size(), "digest": image.manifest.digest()});
        let kind = "application/vnd.oci.image.index.v1+json";
        for _ in 0..6 {
            let bytes = list(json!({"schemaVersion": 2, "mediaType": kind, "manifests": [inner]}));
            std::fs::write(blob(layout, digest_of(&bytes).digest()), &bytes).unwrap();
            inner = json!({"mediaType": kind, "size": bytes.len(), "digest": digest_of(&bytes)});
        }
        std::fs::write(layout.join("index.json"), list(json!({"schemaVersion": 2, "manifests": [inner]}))).unwrap();
    });
    assert!(cycle.contains("too deep"), "{cycle}");
}
