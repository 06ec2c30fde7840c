//! Reading and changing the file.

use super::*;

fn password(username: &str, password: &str) -> Credential {
    Credential::Password { username: username.to_owned(), password: password.to_owned() }
}

struct Place(tempfile::TempDir);

impl Place {
    fn with(text: &str) -> (Self, DockerConfig) {
        let place = Self(tempfile::tempdir().unwrap());
        let path = place.0.path().join("config.json");
        fs::write(&path, text).unwrap();
        (place, DockerConfig::at(path))
    }
}

#[test]
fn every_kind_of_entry_is_read() {
    let (_place, config) = Place::with(
        r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "YW5uOmE6Yg=="},
            "https://r.example/v2/": {"username": "bob", "password": "x"},
            "t.example": {"auth": "", "identitytoken": "tok"},
            "u.example": {"registrytoken": "raw"},
            "empty.example": {}
        }}"#,
    );
    let get = |registry: &str| config.credential(registry).unwrap();
    assert_eq!(get("docker.io"), Some(password("ann", "a:b")));
    assert_eq!(get("r.example"), Some(password("bob", "x")));
    assert_eq!(get("t.example"), Some(Credential::IdentityToken("tok".to_owned())));
    assert_eq!(get("u.example"), Some(Credential::RegistryToken("raw".to_owned())));
    assert_eq!((get("empty.example"), get("other.example")), (None, None));
}

#[test]
fn no_file_or_an_empty_one_knows_nothing() {
    let (place, config) = Place::with(" \n");
    assert_eq!(config.credential("docker.io").unwrap(), None);
    let absent = DockerConfig::at(place.0.path().join("no/config.json"));
    assert_eq!(absent.credential("docker.io").unwrap(), None);
    assert!(!absent.erase("docker.io").unwrap());
}

#[test]
fn login_and_logout_keep_what_else_is_there() {
    let (_place, config) =
        Place::with(r#"{"psFormat": "x", "auths": {"http://a.example": {"auth": "old"}, "b.example": {"k": 1}}}"#);
    assert!(config.store("a.example", &password("ann", "new")).unwrap());
    assert!(config.store("docker.io", &password("hub", "y")).unwrap());
    let document = config.read().unwrap();
    assert_eq!(document["psFormat"], "x");
    let auths = document["auths"].as_object().unwrap();
    let mut keys = auths.keys().map(String::as_str).collect::<Vec<_>>();
    keys.sort_unstable();
    assert_eq!(keys, ["a.example", "b.example", "https://index.docker.io/v1/"]);
    assert_eq!(config.credential("a.example").unwrap(), Some(password("ann", "new")));
    assert!(config.erase("a.example").unwrap() && !config.erase("a.example").unwrap());
    assert_eq!(config.read().unwrap()["auths"]["b.example"]["k"], 1);
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone_and_a_link_stays_one() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let (real, link) = (place.path().join("real.json"), place.path().join("config.json"));
    fs::write(&real, "{}").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    DockerConfig::at(link.clone()).store("a.example", &password("a", "b")).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_file_is_named_and_left_alone() {
    for text in ["{", "[]", r#"{"auths": []}"#] {
        let (_place, config) = Place::with(text);
        assert!(config.store("a.example", &password("a", "b")).unwrap_err().to_string().contains("config.json"));
        assert_eq!(fs::read_to_string(&config.path).unwrap(), text);
    }
    let (_place, config) = Place::with(r#"{"auths": {"a": {"auth": "!!"}, "b": {"auth": "YQ=="}}}"#);
    assert!(config.credential("a").is_err() && config.credential("b").is_err());
}

#[test]
fn helpers_are_chosen_by_registry() {
    let (_place, config) = Place::with(
        r#"{"credsStore": "pass", "credHelpers": {"a.example": "gcr", "b.example": "", "c.example": "../x"}}"#,
    );
    let document = config.read().unwrap();
    let helper = |registry: &str| config.helper(&document, registry);
    assert_eq!(helper("a.example").unwrap(), Helper::new("gcr"));
    assert_eq!(helper("b.example").unwrap(), None);
    assert_eq!(helper("z.example").unwrap(), Helper::new("pass"));
    assert!(matches!(helper("c.example"), Err(CredentialError::HelperName { .. })));
}
