//! Documents that lie, and servers that are not well.

use super::*;
use crate::manifest::{MAX_MANIFEST, digest_of};

#[test]
fn a_manifest_is_fetched_by_tag_and_by_digest() {
    let fake = open(|_| Answer::new(200, manifest()));
    let digest = anonymous().digest(&reference(&fake, "a/b:c")).unwrap();
    assert_eq!(digest, digest_of(&manifest()));
    anonymous().digest(&reference(&fake, &format!("a/b@{digest}"))).unwrap();
    assert_eq!((fake.count("GET /v2/a/b/manifests/c"), fake.count("GET /v2/a/b/manifests/sha256:")), (1, 1));
    let asked = fake.asked();
    assert!(asked[1].header("accept").contains("application/vnd.docker.distribution.manifest.list.v2+json"));
}

#[test]
fn a_manifest_that_is_another_is_refused() {
    let fake = open(|_| Answer::new(200, manifest()).header("Docker-Content-Digest", digest_of(b"other").to_string()));
    let error = anonymous().digest(&reference(&fake, "a:b")).unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    let wanted = format!("a@{}", digest_of(b"wanted"));
    let error = anonymous().digest(&reference(&fake, &wanted)).unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
}

#[test]
fn a_document_without_end_is_not_read_to_its_end() {
    let announced = open(|_| Answer { announced: Some(1 << 40), ..Answer::new(200, vec![b' '; 1000]) });
    let error = anonymous().digest(&reference(&announced, "a")).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: MAX_MANIFEST, .. }), "{error}");
    let body = vec![b' '; usize::try_from(MAX_MANIFEST).unwrap() + 1];
    let endless = open(move |_| Answer { unannounced: true, ..Answer::new(200, body.clone()) });
    let error = anonymous().digest(&reference(&endless, "a")).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
}

#[test]
fn what_is_no_manifest_is_refused() {
    for body in ["", "{", "[]", "<html>", r#"{"schemaVersion":2,"mediaType":"x"}"#, r#"{"schemaVersion":1}"#] {
        let fake = open(move |_| Answer::new(200, body));
        let error = anonymous().digest(&reference(&fake, "a")).unwrap_err();
        assert!(matches!(error, RegistryError::Manifest(_)), "{body}: {error}");
    }
}

#[test]
fn absence_is_told_with_the_registrys_words() {
    let fake = open(|_| Answer::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#));
    let error = anonymous().digest(&reference(&fake, "a/b:c")).unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }));
    assert!(error.to_string().ends_with("a/b:c not found: manifest unknown"), "{error}");
}

#[test]
fn a_busy_server_is_asked_again() {
    let calls = Mutex::new(0);
    let fake = open(move |_| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        match *calls {
            1 => Answer::new(429, "").header("Retry-After", "3600"),
            2 => Answer { silent: true, ..Answer::default() },
            _ => Answer::new(200, manifest()),
        }
    });
    anonymous().digest(&reference(&fake, "a")).unwrap();
    assert_eq!(fake.count("GET /v2/library/") + fake.count("GET /v2/a/"), 3);
}

#[test]
fn a_server_that_stays_ill_is_given_up() {
    let fake = open(|_| Answer::new(503, "{}"));
    let error = anonymous().digest(&reference(&fake, "a")).unwrap_err();
    assert!(matches!(error, RegistryError::GaveUp { tries: TRIES, .. }), "{error}");
    assert_eq!(fake.count("GET /v2/a/manifests"), 3);
}

#[test]
fn nobody_at_home_is_told_at_once() {
    let settings = Settings { backoff: Duration::from_secs(30), ..settings() };
    let client = Client::new(settings, Arc::new(Anonymous));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = client.digest(&Reference::parse(&format!("{free}/a")).unwrap()).unwrap_err();
    assert!(matches!(error, RegistryError::Transport { .. }), "{error}");
}

#[test]
fn mirrors_are_asked_first_and_their_faults_forgiven() {
    let origin = open(|_| Answer::new(200, manifest()));
    let empty = open(|_| Answer::new(404, "{}"));
    let lying = open(|_| Answer::new(200, "{}"));
    let good = open(|_| Answer::new(200, manifest()));
    let mirrors = |fakes: &[&Fake]| {
        let urls = fakes.iter().map(|fake| format!("http://{}/prefix", fake.authority)).collect();
        Settings { mirrors: [(origin.authority.clone(), urls)].into(), ..settings() }
    };
    let client = Client::new(mirrors(&[&empty, &lying]), Arc::new(Anonymous));
    client.digest(&reference(&origin, "a")).unwrap();
    assert_eq!((empty.asked().len(), lying.asked().len(), origin.count("GET /v2/a/manifests")), (2, 2, 1));
    assert_eq!(empty.asked()[1].target, "/prefix/v2/a/manifests/latest");
    let client = Client::new(mirrors(&[&good]), Arc::new(Anonymous));
    client.digest(&reference(&origin, "a")).unwrap();
    assert_eq!(origin.count("GET /v2/a/manifests"), 1);
}
