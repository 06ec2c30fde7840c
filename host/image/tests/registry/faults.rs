//! Whole transfers with a registry that misbehaves.

use super::*;
use fake::{Answer, Asked, Fake};
use hull_image::manifest::{MAX_MANIFEST, digest_of};
use hull_image::registry::RegistryError;
use hull_image::store::StoreError;

/// What a registry would have of an image: by digest, its manifest among the rest.
fn contents(store: &Store, image: &StoredImage) -> HashMap<String, Vec<u8>> {
    let mut contents = HashMap::new();
    let manifest = store.read_blob(image.manifest.digest(), MAX_MANIFEST).unwrap();
    contents.insert("manifest".to_owned(), manifest);
    contents.insert(image.id.to_string(), store.read_blob(&image.id, MAX_MANIFEST).unwrap());
    for layer in image.layers.iter() {
        contents.insert(
            layer.descriptor.digest().to_string(),
            store.read_blob(layer.descriptor.digest(), 1 << 30).unwrap(),
        );
    }
    contents
}

fn serve(asked: &Asked, contents: &HashMap<String, Vec<u8>>) -> Answer {
    let last = asked.target.rsplit('/').next().unwrap_or_default();
    match asked.target.as_str() {
        "/v2/" => Answer::new(200, "{}"),
        target if target.contains("/manifests/") => Answer::new(200, contents["manifest"].clone())
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json"),
        _ => contents.get(last).map_or_else(|| Answer::new(404, "{}"), |bytes| fake::blob(asked, bytes)),
    }
}

#[test]
fn layers_that_break_off_arrive_whole() {
    let (here, there) = (place(), place());
    let made = image(&here.store, &[("a", &noise(3 << 20, 9)), ("b", &noise(2 << 20, 10))]);
    let contents = contents(&here.store, &made);
    let fake = Fake::start(move |asked| {
        let answer = serve(asked, &contents);
        // Every answer is cut that is longer than this; headway is made each time.
        let cut = (answer.body.len() > (1 << 20) + 77).then_some((1 << 20) + 77);
        Answer { cut, ..answer }
    });
    let name = reference(&fake.authority, "app:1");
    let pulled = anonymous().pull(&there.store, &name, &guest(), &Quiet).unwrap();
    assert_eq!(pulled.image.id, made.id);
    assert!(fake.asked().iter().filter(|asked| !asked.header("range").is_empty()).count() >= 3);
}

#[test]
fn a_wrong_layer_is_never_seen() {
    let (here, there) = (place(), place());
    let made = image(&here.store, &[("a", &noise(100_000, 11)), ("b", &noise(100_000, 12))]);
    let mut contents = contents(&here.store, &made);
    let last = made.layers.last().unwrap().descriptor.digest().to_string();
    contents.get_mut(&last).unwrap()[70_000] ^= 1;
    let fake = Fake::start(move |asked| serve(asked, &contents));
    let name = reference(&fake.authority, "app:1");
    let error = anonymous().pull(&there.store, &name, &guest(), &Quiet).unwrap_err();
    assert!(matches!(error, RegistryError::Store(StoreError::Digest { .. })), "{}", chain(&error));
    assert!(there.store.images().unwrap().is_empty() && there.store.resolve(&name.to_string()).is_err());
}

#[test]
fn a_mirror_with_a_wrong_layer_is_corrected_by_the_registry() {
    let (here, there) = (place(), place());
    let made = image(&here.store, &[("a", &noise(100_000, 13))]);
    let good = contents(&here.store, &made);
    let mut bad = good.clone();
    bad.get_mut(&made.layers[0].descriptor.digest().to_string()).unwrap()[5000] ^= 1;
    let (mirror, origin) =
        (Fake::start(move |asked| serve(asked, &bad)), Fake::start(move |asked| serve(asked, &good)));
    let mirrors = [(origin.authority.clone(), vec![format!("http://{}", mirror.authority)])].into();
    let client = Client::new(Settings { mirrors, ..settings() }, Arc::new(Anonymous));
    let pulled = client.pull(&there.store, &reference(&origin.authority, "app:1"), &guest(), &Quiet).unwrap();
    assert_eq!(pulled.image.id, made.id);
    assert_eq!((mirror.count("GET /v2/app/blobs"), origin.count("GET /v2/app/blobs")), (2, 1));
}

#[test]
fn a_manifest_that_promises_too_much_is_refused() {
    let (here, there) = (place(), place());
    let made = image(&here.store, &[("a", b"x")]);
    let original = contents(&here.store, &made);
    let text = String::from_utf8(original["manifest"].clone()).unwrap();
    let size = made.layers[0].descriptor.size();
    for promised in [format!("\"size\":{}", u64::MAX), format!("\"size\":{}", size + 1), "\"size\":0".to_owned()] {
        let mut contents = original.clone();
        contents.insert("manifest".to_owned(), text.replace(&format!("\"size\":{size}"), &promised).into_bytes());
        let fake = Fake::start(move |asked| serve(asked, &contents));
        let result = anonymous().pull(&there.store, &reference(&fake.authority, "app:1"), &guest(), &Quiet);
        assert!(result.is_err(), "{promised}");
    }
    // A configuration for other layers than the manifest's.
    let mut contents = original.clone();
    let wrong = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec();
    let manifest = text.replace(made.id.as_ref(), digest_of(&wrong).as_ref());
    let length = original[&made.id.to_string()].len();
    let manifest = manifest.replace(&format!("\"size\":{length}"), &format!("\"size\":{}", wrong.len()));
    contents.insert("manifest".to_owned(), manifest.into_bytes());
    contents.insert(digest_of(&wrong).to_string(), wrong);
    let fake = Fake::start(move |asked| serve(asked, &contents));
    let error = anonymous().pull(&there.store, &reference(&fake.authority, "app:1"), &guest(), &Quiet).unwrap_err();
    assert!(matches!(error, RegistryError::Manifest(_)), "{}", chain(&error));
    assert!(there.store.images().unwrap().is_empty());
}

#[test]
fn an_upload_that_fails_is_begun_again() {
    let here = place();
    let made = image(&here.store, &[("a", &noise(200_000, 14))]);
    let received = Arc::new(Mutex::new(Vec::new()));
    let (store, puts) = (received.clone(), Mutex::new(0));
    let fake = Fake::start(move |asked| match (asked.method.as_str(), asked.target.as_str()) {
        ("GET", "/v2/") => Answer::new(200, "{}"),
        ("HEAD", _) => Answer::new(404, ""),
        ("POST", _) => Answer::new(202, "").header("Location", "/upload?state=a%2Fb"),
        ("PUT", target) if target.contains("/manifests/") => Answer::new(201, ""),
        _ => {
            let mut puts = puts.lock().unwrap();
            *puts += 1;
            match *puts {
                1 => Answer { silent: true, ..Answer::default() },
                2 => Answer::new(503, ""),
                _ => {
                    store.lock().unwrap().push((asked.target.clone(), asked.body.clone()));
                    Answer::new(201, "")
                }
            }
        }
    });
    anonymous().push(&here.store, &made, &reference(&fake.authority, "app:1"), &Quiet).unwrap();
    let received = received.lock().unwrap();
    assert_eq!(received.len(), 2);
    for (target, body) in received.iter() {
        let digest = digest_of(body).to_string().replace(':', "%3A");
        assert_eq!(*target, format!("/upload?state=a%2Fb&digest={digest}"));
    }
    assert!(fake.asked().iter().all(|asked| asked.header("transfer-encoding").is_empty()));
}

#[test]
fn an_upload_is_not_sent_into_the_open() {
    let here = place();
    let made = image(&here.store, &[("a", b"x")]);
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "GET" => Answer::new(200, "{}"),
        "HEAD" => Answer::new(404, ""),
        _ => Answer::new(202, "").header("Location", "http://192.0.2.1/upload"),
    });
    let error = anonymous().push(&here.store, &made, &reference(&fake.authority, "app:1"), &Quiet).unwrap_err();
    assert!(matches!(error, RegistryError::Plain { .. }), "{}", chain(&error));
}
