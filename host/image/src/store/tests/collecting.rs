//! What goes, and what stays.

use super::*;

fn base() -> Layer {
    Layer::of(Tar::default().file("base", &[1; 100_000]))
}

fn app(number: u8) -> Layer {
    Layer::of(Tar::default().file("app", &[number; 10_000]))
}

#[test]
fn names_move_and_leave_nameless_images() {
    let fixture = Fixture::new();
    let old = fixture.image(&["app", "keep"], &[base(), app(1)]);
    let new = fixture.image(&["app"], &[base(), app(2)]);
    assert_eq!(fixture.store.resolve("app").unwrap().id, new.id);
    assert_eq!(fixture.store.resolve("keep").unwrap().id, old.id);
    fixture.image(&["keep"], &[base()]);
    assert_eq!(fixture.store.resolve(old.id.digest()).unwrap().names, []);
    assert_eq!(fixture.names(), ["app:latest", "keep:latest"]);
    assert_eq!(fixture.prune().images, std::slice::from_ref(&old.id));
    assert!(fixture.store.resolve(old.id.digest()).is_err());
    // Three manifests and configurations less one, three layers less one.
    assert_eq!(fixture.contents(), (4 + 2, 2, 2));
    fixture.store.tag(&new, &reference("more:v2")).unwrap();
    assert_eq!(fixture.store.resolve("more:v2").unwrap().names.len(), 2);
    fixture.store.untag(&reference("more:v2")).unwrap();
    assert!(fixture.store.untag(&reference("more:v2")).is_err());
    assert!(fixture.store.tag(&old, &reference("x")).is_err());
}

#[test]
fn images_are_removed_with_what_only_they_need() {
    let fixture = Fixture::new();
    fixture.image(&["one", "uno"], &[base(), app(1)]);
    let two = fixture.image(&["two"], &[base(), app(2)]);
    let remove = |name: &str, conflicts| fixture.store.remove(name, conflicts, &nobody);
    let removed = remove("uno", Conflicts::Refuse).unwrap();
    assert_eq!((removed.untagged, removed.images), (vec![reference("uno")], vec![]));
    let removed = remove("one", Conflicts::Refuse).unwrap();
    assert_eq!(removed.images.len(), 1);
    assert!(removed.bytes > 10_000, "{} bytes", removed.bytes);
    assert_eq!(fixture.contents(), (4, 2, 1));
    fixture.store.tag(&two, &reference("zwei")).unwrap();
    assert!(matches!(remove(two.id.digest(), Conflicts::Refuse), Err(StoreError::Conflict { .. })));
    assert_eq!(remove(two.id.digest(), Conflicts::Override).unwrap().untagged.len(), 2);
    assert_eq!(fixture.contents(), (0, 0, 0));
    assert!(matches!(remove("two", Conflicts::Refuse), Err(StoreError::NotFound(_))));
}

#[test]
fn what_containers_have_stays() {
    let fixture = Fixture::new();
    let image = fixture.image(&["app"], &[base()]);
    let users = || Ok(HashSet::from([image.id.clone()]));
    assert!(matches!(fixture.store.remove("app", Conflicts::Refuse, &users), Err(StoreError::Conflict { .. })));
    let removed = fixture.store.remove("app", Conflicts::Override, &users).unwrap();
    assert_eq!((removed.untagged.len(), removed.images.len()), (1, 0));
    assert!(fixture.store.prune(Prune::Unused, &|_| true, &users).unwrap().images.is_empty());
    fixture.store.rootfs(&fixture.store.resolve(image.id.digest()).unwrap()).unwrap();
    assert_eq!(fixture.prune().images, [image.id]);
}

#[test]
fn prunes_ask_and_take_unused_images_only_when_told() {
    let fixture = Fixture::new();
    fixture.image(&["one"], &[base(), app(1)]);
    fixture.image(&["two"], &[base(), app(2)]);
    assert!(fixture.prune().images.is_empty());
    let is_one = |image: &StoredImage| image.names.contains(&reference("one"));
    assert_eq!(fixture.store.prune(Prune::Unused, &is_one, &nobody).unwrap().untagged, [reference("one")]);
    assert_eq!(fixture.names(), ["two:latest"]);
}

#[test]
fn what_an_import_has_added_stays_until_it_is_dropped() {
    let fixture = Fixture::new();
    let import = fixture.store.begin().unwrap();
    let layer = base();
    import.layer(&layer.descriptor, &layer.diff_id, || Ok(&layer.blob[..]), &Quiet).unwrap();
    assert_eq!(fixture.prune_with_import(), 0);
    let manifest = documents(&import, &[layer]).unwrap();
    assert_eq!(fixture.prune_with_import(), 0);
    import.commit(&manifest, &[reference("app")]).unwrap();
    assert_eq!(fixture.prune().bytes, 0);
    let import = fixture.store.begin().unwrap();
    import.put(MediaType::ImageConfig, b"never used").unwrap();
    drop(import);
    assert!(fixture.prune().bytes > 0);
}

impl Fixture {
    fn prune_with_import(&self) -> u64 {
        self.store.prune(Prune::Unused, &|_| true, &nobody).unwrap().bytes
    }
}

#[test]
fn held_images_stay() {
    let fixture = Fixture::new();
    let image = fixture.image(&["app"], &[base()]);
    let hold = fixture.store.hold(&image).unwrap();
    assert!(fixture.store.prune(Prune::Unused, &|_| true, &nobody).unwrap().images.is_empty());
    assert!(matches!(fixture.store.remove("app", Conflicts::Refuse, &nobody), Err(StoreError::Conflict { .. })));
    assert!(fixture.store.remove("app", Conflicts::Override, &nobody).unwrap().images.is_empty());
    drop(hold);
    assert_eq!(fixture.store.prune(Prune::Unused, &|_| true, &nobody).unwrap().images.len(), 1);
    assert!(matches!(fixture.store.hold(&image), Err(StoreError::NotFound(_))));
}

#[test]
fn an_index_that_an_image_was_pulled_through_stays_with_its_name() {
    let fixture = Fixture::new();
    let import = fixture.store.begin().unwrap();
    let index = import.put(MediaType::ImageIndex, b"an index").unwrap();
    let layer = base();
    import.layer(&layer.descriptor, &layer.diff_id, || Ok(&layer.blob[..]), &Quiet).unwrap();
    let manifest = documents(&import, &[layer]).unwrap();
    let by_digest = reference("app").with_digest(index.digest().clone());
    let image = import.commit(&manifest, &[reference("app"), by_digest.clone()]).unwrap();
    assert_eq!(fixture.store.resolve(&by_digest.to_string()).unwrap().id, image.id);
    fixture.prune();
    assert!(fixture.store.has_blob(index.digest()).unwrap());
    // The name by digest does not keep the image from going with its last tag.
    fixture.store.remove("app", Conflicts::Refuse, &nobody).unwrap();
    assert_eq!(fixture.contents(), (0, 0, 0));
}

#[test]
fn sizes_add_up_and_shared_bytes_are_counted_once() {
    let fixture = Fixture::new();
    let one = fixture.image(&["one"], &[base(), app(1)]);
    fixture.image(&["two"], &[base(), app(2)]);
    let usage = fixture.store.usage().unwrap();
    let base_bytes = fixture.store.layer_size(&base().diff_id).unwrap();
    assert_eq!(base_bytes, base_archive_bytes());
    assert!(usage.images.iter().all(|image| image.shared == base_bytes && image.unique() < 20_000));
    assert_eq!(fixture.store.size(&one).unwrap(), usage.images[0].size);
    assert!(usage.layers >= 120_000 && usage.layers < 200_000, "{usage:?}");
    assert_eq!(usage.total(), usage.layers + usage.metadata + usage.blobs);
}

fn base_archive_bytes() -> u64 {
    Tar::default().file("base", &[1; 100_000]).end().len() as u64
}
