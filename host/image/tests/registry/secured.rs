//! TLS with an authority of our own, and passwords.

use super::*;
use hull_image::credentials::DockerConfig;
use hull_image::registry::RegistryError;
use server::{Options, PASSWORD, Server};
use std::process::Command;

const SECURED: Options = Options { tls: true, password: true };

fn trusting(server: &Server) -> Settings {
    Settings { certificates: vec![server.certificates()], ..settings() }
}

#[test]
fn tls_and_a_password() {
    let server = Server::start(SECURED);
    let (here, there) = (place(), place());
    let made = image(&here.store, &[("a", &noise(1 << 20, 6))]);
    let name = reference(&server.authority, "private/app:1");
    let client = Client::new(trusting(&server), keychain(&server.authority, PASSWORD));
    client.push(&here.store, &made, &name, &Quiet).unwrap();
    assert_eq!(client.pull(&there.store, &name, &guest(), &Quiet).unwrap().image.id, made.id);
    for keychain in [Arc::new(Anonymous) as Arc<dyn Keychain>, keychain(&server.authority, "wrong")] {
        let stranger = Client::new(trusting(&server), keychain);
        let error = stranger.pull(&place().store, &name, &guest(), &Quiet).unwrap_err();
        assert!(matches!(error, RegistryError::Denied { .. }), "{}", chain(&error));
        let error = stranger.push(&here.store, &made, &name, &Quiet).unwrap_err();
        assert!(matches!(error, RegistryError::Denied { .. }), "{}", chain(&error));
    }
}

#[test]
fn an_unknown_authority_is_not_trusted_and_never_bypassed_in_the_open() {
    let server = Server::start(SECURED);
    let client = Client::new(settings(), keychain(&server.authority, PASSWORD));
    let error = client.digest(&reference(&server.authority, "a")).unwrap_err();
    assert!(matches!(error, RegistryError::Untrusted { .. }), "{}", chain(&error));
    // On request the certificate does not matter.
    let insecure = Settings { insecure: vec![server.authority.clone()], ..settings() };
    let client = Client::new(insecure, keychain(&server.authority, PASSWORD));
    let error = client.digest(&reference(&server.authority, "a")).unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{}", chain(&error));
}

#[test]
fn login_is_kept_where_docker_keeps_it() {
    let server = Server::start(SECURED);
    let directory = tempfile::tempdir().unwrap();
    let config = DockerConfig::at(directory.path().join("config.json"));
    let client = Client::new(trusting(&server), Arc::new(config.clone()));
    let credential =
        |password: &str| Credential::Password { username: "ann".to_owned(), password: password.to_owned() };
    let error = client.login(&server.authority, &credential("wrong")).unwrap_err();
    assert!(matches!(error, RegistryError::Login { .. }), "{}", chain(&error));
    client.login(&server.authority, &credential(PASSWORD)).unwrap();
    assert!(config.store(&server.authority, &credential(PASSWORD)).unwrap());
    let here = place();
    let name = reference(&server.authority, "app:1");
    client.push(&here.store, &image(&here.store, &[("a", b"x")]), &name, &Quiet).unwrap();
    assert!(config.erase(&server.authority).unwrap());
    let fresh = Client::new(trusting(&server), Arc::new(config));
    assert!(matches!(fresh.digest(&name).unwrap_err(), RegistryError::Denied { .. }));
}

#[cfg(unix)]
#[test]
fn a_helper_program_keeps_credentials() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (program, kept) = (directory.path().join("docker-credential-hulltest"), directory.path().join("kept"));
    let script = format!(
        "#!/bin/sh\nread -r line\ncase $1 in\nstore) echo \"$line\" > {0};;\nerase) rm -f {0};;\n\
         get) cat {0} 2>/dev/null || {{ echo 'credentials not found in native keychain'; exit 1; }};;\nesac\n",
        kept.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(directory.path().join("config.json"), r#"{"credsStore": "hulltest"}"#).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    again("helper_child", &[("PATH", &path), ("HULL_TEST_CONFIG", directory.path().to_str().unwrap())]);
    assert!(!kept.exists());
    let file = std::fs::read_to_string(directory.path().join("config.json")).unwrap();
    assert!(!file.contains("auth"), "{file}");
}

#[test]
#[ignore = "run by a_helper_program_keeps_credentials, in an environment of its own"]
fn helper_child() {
    let config =
        DockerConfig::at(std::path::PathBuf::from(std::env::var("HULL_TEST_CONFIG").unwrap()).join("config.json"));
    let credential = Credential::Password { username: "ann".to_owned(), password: "s p:\"".to_owned() };
    assert_eq!(config.credential("r.example").unwrap(), None);
    assert!(!config.store("r.example", &credential).unwrap());
    assert_eq!(config.credential("r.example").unwrap(), Some(credential));
    assert!(config.erase("r.example").unwrap());
    assert!(!config.erase("r.example").unwrap());
}

#[test]
fn the_environment_names_authorities_and_proxies() {
    let server = Server::start(SECURED);
    let certificate = server.authority_certificate();
    let (registry, file) = (server.authority.as_str(), certificate.to_str().unwrap());
    // A proxy is not asked for loopback; this one does not exist.
    let proxy = ("HTTPS_PROXY", "http://127.0.0.1:9");
    again("environment_child", &[("HULL_TEST_REGISTRY", registry), ("SSL_CERT_FILE", file), proxy]);
}

#[test]
#[ignore = "run by the_environment_names_authorities_and_proxies, in an environment of its own"]
fn environment_child() {
    let registry = std::env::var("HULL_TEST_REGISTRY").unwrap();
    let client = Client::new(settings(), keychain(&registry, PASSWORD));
    let error = client.digest(&reference(&registry, "a")).unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{}", chain(&error));
}

/// Runs one test of this program again, in another environment.
fn again(test: &str, environment: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", &format!("secured::{test}")])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
