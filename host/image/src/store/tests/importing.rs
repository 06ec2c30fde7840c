//! What comes in.

use super::*;
use crate::erofs::tests::reader::Reader;
use crate::layer::Limits;
use crate::progress::{Phase, Progress, Step};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn simple() -> Layer {
    Layer::of(Tar::default().file("f", b"content").file("large", &[7; 50_000]))
}

#[test]
fn an_image_is_found_by_all_its_names() {
    let fixture = Fixture::new();
    let image = fixture.image(&["app", "localhost:5000/app:v1"], &[simple()]);
    let id = image.id.digest();
    for name in ["app", "app:latest", "docker.io/library/app", "localhost:5000/app:v1", id, &id[..6], image.id.as_ref()]
    {
        assert_eq!(fixture.store.resolve(name).unwrap().id, image.id, "{name}");
    }
    let by_digest = format!("app@{}", image.manifest.digest());
    assert_eq!(fixture.store.resolve(&by_digest).unwrap().id, image.id);
    for name in ["other", "app:v1", "ffffffffffff", &format!("other@{}", image.manifest.digest()), "-"] {
        assert!(matches!(fixture.store.resolve(name), Err(StoreError::NotFound(_))), "{name}");
    }
    assert_eq!(image.names.len(), 2);
    assert_eq!(image.configuration.rootfs().diff_ids().len(), 1);
}

#[test]
fn the_root_file_system_is_what_the_layers_say() {
    let fixture = Fixture::new();
    let upper = Layer::of(Tar::default().file("g", b"more").file(".wh.f", b""));
    let base = simple();
    let image = fixture.image(&["app"], &[base.clone(), upper.clone(), base.clone(), upper]);
    let rootfs = fixture.store.rootfs(&image).unwrap();
    assert_eq!(rootfs.pieces.len(), 3, "a layer that occurs twice is there once");
    let reader = Reader::new(whole(&rootfs));
    assert_eq!(reader.names("/"), [".", "..", "g", "large"]);
    assert_eq!(reader.content("/g"), b"more");
    assert_eq!(reader.content("/large"), [7; 50_000]);
    fs::remove_file(&rootfs.pieces[0].path).unwrap();
    assert_eq!(fixture.store.rootfs(&image).unwrap(), rootfs);
    assert_eq!(Reader::new(whole(&rootfs)).content("/g"), b"more");
    fixture.contents();
}

#[test]
fn layers_may_be_compressed_in_any_way() {
    let archive = Tar::default().file("f", &[3; 10_000]).end();
    let twice = [gzip(&archive[..5000]), gzip(&archive[5000..])].concat();
    let zstd = ruzstd::encoding::compress_to_vec(&archive[..], ruzstd::encoding::CompressionLevel::Fastest);
    let skippable = [&[0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd].concat();
    for (number, blob) in [archive.clone(), gzip(&archive), twice, zstd, skippable].into_iter().enumerate() {
        let fixture = Fixture::new();
        let image = fixture.image(&["app"], &[Layer::new(&archive, blob)]);
        let reader = Reader::new(whole(&fixture.store.rootfs(&image).unwrap()));
        assert_eq!(reader.content("/f"), [3; 10_000], "{number}");
    }
}

/// Imports one layer, which has to be refused, and returns why; nothing may be left.
fn refusal(fixture: &Fixture, layer: &Layer) -> StoreError {
    let import = fixture.store.begin().unwrap();
    let added = import.layer(&layer.descriptor, &layer.diff_id, || Ok(&layer.blob[..]), &Quiet);
    drop(import);
    assert_eq!(fixture.contents(), (0, 0, 0), "a trace is left");
    added.expect_err("this should have been refused")
}

#[test]
fn what_is_not_what_was_promised_is_refused() {
    let fixture = Fixture::new();
    let good = simple();
    let mut other = good.clone();
    other.diff_id = digest_of(b"other");
    assert!(matches!(refusal(&fixture, &other), StoreError::Digest { what, .. } if what.contains("diff ID")));
    let mut damaged = good.clone();
    damaged.blob[30] ^= 1;
    assert!(matches!(refusal(&fixture, &damaged), StoreError::Digest { what: "blob", .. }));
    let mut longer = good.clone();
    longer.blob.push(0);
    assert!(matches!(refusal(&fixture, &longer), StoreError::Size { .. }));
    let mut shorter = good.clone();
    shorter.blob.truncate(40);
    let error = refusal(&fixture, &shorter);
    assert!(matches!(error, StoreError::Digest { .. } | StoreError::Size { .. }), "{error}");
    let mut unknown = good.clone();
    unknown.diff_id = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    assert!(matches!(refusal(&fixture, &unknown), StoreError::Algorithm(_)));

    let import = fixture.store.begin().unwrap();
    let descriptor = Descriptor::new(MediaType::ImageConfig, 3, digest_of(b"abc"));
    assert!(matches!(import.blob(&descriptor, || Ok(&b"abd"[..])), Err(StoreError::Digest { .. })));
    assert!(matches!(import.blob(&descriptor, || Ok(&b"abcd"[..])), Err(StoreError::Size { found: 4, .. })));
    assert!(matches!(import.blob(&descriptor, || Ok(&b"ab"[..])), Err(StoreError::Size { found: 2, .. })));
    import.blob(&descriptor, || Ok(&b"abc"[..])).unwrap();
    import.blob(&descriptor, || -> io::Result<&[u8]> { panic!("it is there") }).unwrap();
}

#[test]
fn hostile_archives_leave_no_trace() {
    let fixture = Fixture::new();
    for tar in [
        Tar::default().file("ok", &[1; 9000]).file("../x", b""),
        Tar::default().file("/etc/passwd", b""),
        Tar::default().symlink("d", "/etc").file("d/passwd", b""),
        Tar::default().file("a", b"").file("a", b""),
        Tar::default().hard_link("x", "../../etc/shadow"),
    ] {
        let error = refusal(&fixture, &Layer::of(tar));
        assert!(matches!(error, StoreError::Layer { .. }), "{error}");
        assert!(told(&error).contains("entry"), "{}", told(&error));
    }
    let mut cut = Tar::default().file("f", &[1; 9000]).end();
    cut.truncate(3000);
    assert!(told(&refusal(&fixture, &Layer::new(&cut, gzip(&cut)))).contains("breaks off"));
}

#[test]
fn decompression_bombs_are_stopped() {
    let limits = Limits { unquestioned_bytes: 1 << 20, layer_bytes: 64 << 20, ..Limits::default() };
    let fixture = Fixture::with(Settings { limits, ..Settings::default() });
    let bomb = Tar::default().file("f", &vec![0; 20 << 20]).end();
    let error = refusal(&fixture, &Layer::new(&bomb, gzip(&bomb)));
    assert!(told(&error).contains("bomb"), "{}", told(&error));
    // Behind the archive's end it is one, too.
    let mut hidden = Tar::default().file("f", b"").end();
    hidden.resize(20 << 20, 0);
    assert!(told(&refusal(&fixture, &Layer::new(&hidden, gzip(&hidden)))).contains("bomb"));
    let limits = Limits { layer_bytes: 1 << 20, ..Limits::default() };
    let fixture = Fixture::with(Settings { limits, ..Settings::default() });
    assert!(told(&refusal(&fixture, &Layer::new(&bomb, gzip(&bomb)))).contains("1048576"));
}

#[test]
fn sources_that_fail_are_told_of() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("connection lost"))?;
            buffer[0] = 0x1f;
            Ok(1)
        }
    }
    let fixture = Fixture::new();
    let layer = simple();
    let import = fixture.store.begin().unwrap();
    let error = import.layer(&layer.descriptor, &layer.diff_id, || Ok(Failing(3)), &Quiet).unwrap_err();
    assert!(matches!(error, StoreError::Transfer { .. }), "{error}");
    assert!(told(&error).contains("connection lost"));
    let refused = || -> io::Result<Failing> { Err(io::Error::other("not found")) };
    let error = import.layer(&layer.descriptor, &layer.diff_id, refused, &Quiet).unwrap_err();
    assert!(told(&error).contains("not found"));
    drop(import);
    assert_eq!(fixture.contents(), (0, 0, 0));
}

#[test]
fn two_imports_at_once_fetch_once() {
    let fixture = Fixture::new();
    let (layer, fetched) = (simple(), AtomicUsize::new(0));
    let states = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Each one has a store of its own, as another process would.
                let store = Store::open(fixture.store.root()).unwrap();
                let import = store.begin().unwrap();
                let source = || {
                    fetched.fetch_add(1, Ordering::SeqCst);
                    Ok(&layer.blob[..])
                };
                let state = import.layer(&layer.descriptor, &layer.diff_id, source, &Quiet).unwrap();
                states.lock().unwrap().push(state);
                let manifest = documents(&import, std::slice::from_ref(&layer)).unwrap();
                import.commit(&manifest, &[reference("app")]).unwrap();
            });
        }
    });
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
    let added = states.into_inner().unwrap().into_iter().filter(|state| *state == LayerState::Added).count();
    assert_eq!(added, 1);
    assert_eq!(fixture.names(), ["app:latest"]);
    assert_eq!(fixture.contents(), (3, 1, 1));
}

#[test]
fn progress_is_told_in_order() {
    struct Steps(Mutex<Vec<Step>>);
    impl Progress for Steps {
        fn step(&self, _: &Digest, step: Step) {
            self.0.lock().unwrap().push(step);
        }
    }
    let fixture = Fixture::new();
    let noise: Vec<u8> = (0..4_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let archive = Tar::default().file("f", &noise).end();
    let layer = Layer::new(&archive, archive.clone());
    let import = fixture.store.begin().unwrap();
    let steps = Steps(Mutex::default());
    for _ in 0..2 {
        import.layer(&layer.descriptor, &layer.diff_id, || Ok(&layer.blob[..]), &steps).unwrap();
    }
    let steps = steps.0.into_inner().unwrap();
    let mut phases: Vec<_> = steps.iter().map(|step| step.phase).collect();
    phases.dedup();
    use Phase::{Done, Downloading, Exists, Extracting, Waiting};
    assert_eq!(phases, [Waiting, Downloading, Extracting, Done, Waiting, Exists]);
    let done: Vec<_> = steps.iter().filter(|step| step.phase == Downloading).map(|step| step.done).collect();
    assert!(done.is_sorted() && done.len() > 5, "{done:?}");
    assert!(steps.iter().all(|step| step.total == Some(layer.blob.len() as u64)));
}

#[test]
fn blobs_of_layers_need_not_be_kept() {
    let fixture = Fixture::with(Settings { keep_blobs: false, ..Settings::default() });
    let layer = simple();
    let image = fixture.image(&["app"], std::slice::from_ref(&layer));
    assert_eq!(fixture.contents(), (2, 1, 1));
    assert!(matches!(fixture.store.open_blob(layer.descriptor.digest()), Err(StoreError::Dropped(_))));
    assert!(matches!(fixture.store.open_blob(&digest_of(b"")), Err(StoreError::Missing(_))));
    fixture.store.rootfs(&image).unwrap();
    let import = fixture.store.begin().unwrap();
    let never = || -> io::Result<&[u8]> { panic!("it is there") };
    import.layer(&layer.descriptor, &layer.diff_id, never, &Quiet).unwrap();
    drop(import);
    // With the setting changed, they are fetched again.
    let store = Store::open(fixture.store.root()).unwrap();
    let import = store.begin().unwrap();
    let state = import.layer(&layer.descriptor, &layer.diff_id, || Ok(&layer.blob[..]), &Quiet).unwrap();
    assert_eq!(state, LayerState::Added);
    assert_eq!(store.open_blob(layer.descriptor.digest()).unwrap().1, layer.blob.len() as u64);
}

#[test]
fn a_blob_is_not_taken_for_a_layer_that_it_is_not() {
    let fixture = Fixture::new();
    let (one, two) = (simple(), Layer::of(Tar::default().file("g", b"")));
    fixture.image(&["one"], std::slice::from_ref(&one));
    fixture.image(&["two"], std::slice::from_ref(&two));
    let import = fixture.store.begin().unwrap();
    let never = || -> io::Result<&[u8]> { panic!("both are there") };
    let mixed = import.layer(&one.descriptor, &two.diff_id, never, &Quiet);
    assert!(matches!(mixed, Err(StoreError::Digest { .. })));
    let mixed = Layer { diff_id: two.diff_id.clone(), ..one };
    let manifest = documents(&import, &[mixed]).unwrap();
    assert!(matches!(import.commit(&manifest, &[]), Err(StoreError::Missing(_))));
}

#[test]
fn layers_without_known_digests_are_added() {
    let fixture = Fixture::new();
    let layer = simple();
    let import = fixture.store.begin().unwrap();
    let new = import.add_layer(&layer.blob[..], &Quiet).unwrap();
    assert_eq!((new.descriptor, new.diff_id), (layer.descriptor.clone(), layer.diff_id.clone()));
    let never = || -> io::Result<&[u8]> { panic!("it is there") };
    import.layer(&layer.descriptor, &layer.diff_id, never, &Quiet).unwrap();
    assert!(import.add_layer(&b"no archive, but longer than a header has to be".repeat(20)[..], &Quiet).is_err());
    let mut scratch = import.scratch().unwrap();
    scratch.write_all(b"x").unwrap();
}

#[test]
fn images_that_contradict_themselves_are_not_committed() {
    let fixture = Fixture::new();
    let import = fixture.store.begin().unwrap();
    let layer = simple();
    let manifest = documents(&import, std::slice::from_ref(&layer)).unwrap();
    assert!(matches!(import.commit(&manifest, &[]), Err(StoreError::Missing(_))));

    let import = fixture.store.begin().unwrap();
    let manifest = import.put(MediaType::ImageManifest, b"{}").unwrap();
    assert!(matches!(import.commit(&manifest, &[]), Err(StoreError::Document { .. })));

    let link = Layer::of(Tar::default().hard_link("l", "nowhere"));
    let error = image_in(&fixture.store, &["app"], &[link]).unwrap_err();
    assert!(matches!(error, StoreError::Merge { .. }), "{error}");
    fixture.prune();
    assert_eq!(fixture.contents(), (0, 0, 0));
}

#[test]
fn damage_on_the_disk_is_found() {
    let fixture = Fixture::new();
    let image = fixture.image(&["app"], &[simple()]);
    let path = fixture.store.layer_path(image.layers[0].diff_id.digest()).join("index");
    let whole = fs::read(&path).unwrap();
    fs::remove_file(fixture.store.rootfs_path(image.chain_id().digest())).unwrap();
    for change in [16, 50, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[change] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert!(matches!(fixture.store.rootfs(&image), Err(StoreError::Damaged { .. })), "{change}");
    }
    fs::write(&path, &whole).unwrap();
    fixture.store.rootfs(&image).unwrap();
    fs::write(fixture.store.blob_path(image.id.digest()), b"{}").unwrap();
    assert!(matches!(fixture.store.resolve("app"), Err(StoreError::Digest { .. })));
    assert!(fixture.store.images().unwrap().is_empty());
}
