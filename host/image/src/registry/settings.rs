//! How registries are reached: mirrors, insecure registries, certificate directories, limits of patience.

use super::error::RegistryError;
use crate::reference::{DEFAULT_REGISTRY, is_registry};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest settings file that is read.
const MAX_FILE: u64 = 1 << 20;

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// By registry: the base URLs to ask first when pulling, in this order. What comes from a mirror by digest is
    /// checked like everything else; which digest a tag means is the mirror's word.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Registries that may be spoken to over plain HTTP or with a certificate that cannot be verified.
    pub insecure: Vec<String>,
    /// Directories with one directory per `host[:port]`, as Docker has them: `*.crt` are certificate authorities,
    /// `*.cert` with `*.key` are client certificates.
    pub certificates: Vec<PathBuf>,
    /// How many layers are transferred at once.
    pub parallel: usize,
    /// How often a request, or a blob that makes no headway, is tried.
    pub tries: u32,
    /// The wait before the second try; it doubles with each further one, up to sixteen times this.
    pub backoff: Duration,
    /// The longest wait that a registry may ask for (`Retry-After`).
    pub longest_wait: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a transfer may stand still.
    pub idle_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mirrors: BTreeMap::new(),
            insecure: Vec::new(),
            certificates: certificate_directories(),
            parallel: 3,
            tries: 5,
            backoff: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// What a file of settings says. The first two keys are those of Docker's daemon.json, where they mean the same.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    registry_mirrors: Vec<String>,
    #[serde(default)]
    insecure_registries: Vec<String>,
    #[serde(default)]
    mirrors: BTreeMap<String, Vec<String>>,
}

impl Settings {
    /// The defaults, with what the given files add; a file that does not exist adds nothing. A file is a JSON object
    /// with `registry-mirrors` (for Docker Hub) and `insecure-registries`, as in Docker's daemon.json, and `mirrors`,
    /// an object from a registry's name to a list of URLs.
    ///
    /// # Errors
    /// If a file cannot be read or understood.
    pub fn load(files: &[PathBuf]) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        for path in files {
            if let Some(file) = read(path)? {
                settings.add(path, file)?;
            }
        }
        Ok(settings)
    }

    fn add(&mut self, path: &Path, file: File) -> Result<(), SettingsError> {
        let hub = (DEFAULT_REGISTRY.to_owned(), file.registry_mirrors);
        for (registry, urls) in file.mirrors.into_iter().chain([hub]) {
            if let Some(url) = urls.iter().find(|url| super::endpoint::parse_mirror(url).is_none()) {
                return Err(SettingsError::Mirror { path: path.to_owned(), url: url.clone() });
            }
            let known = self.mirrors.entry(registry).or_default();
            known.extend(urls);
        }
        // Docker takes address ranges too; they name no registry here.
        self.insecure.extend(file.insecure_registries.into_iter().filter(|name| is_registry(name)));
        Ok(())
    }

    /// Whether plain HTTP may be spoken to `authority` (`host[:port]`): always to this machine, else on request.
    pub fn allows_plain(&self, authority: &str) -> bool {
        is_loopback(authority) || self.is_insecure(authority)
    }

    /// Whether someone asked for this registry's certificate not to be verified.
    pub fn is_insecure(&self, authority: &str) -> bool {
        self.insecure.iter().any(|name| name.eq_ignore_ascii_case(authority))
    }

    pub(super) fn check_plain(&self, authority: &str, url: &str) -> Result<(), RegistryError> {
        if self.allows_plain(authority) { Ok(()) } else { Err(RegistryError::Plain { url: url.to_owned() }) }
    }
}

/// The files that settings come from, if they exist: Docker's, of the system and of the user, and hull's.
pub fn default_files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/docker/daemon.json")];
    if let Some(home) = configuration_home() {
        files.push(home.join("docker/daemon.json"));
        files.push(home.join("hull/registries.json"));
    }
    files
}

fn certificate_directories() -> Vec<PathBuf> {
    let user = configuration_home().map(|home| home.join("docker/certs.d"));
    let docker = crate::credentials::configuration_directory().map(|directory| directory.join("certs.d"));
    [Some(PathBuf::from("/etc/docker/certs.d")), user, docker].into_iter().flatten().collect()
}

fn configuration_home() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    set.or_else(|| std::env::home_dir().map(|home| home.join(".config")))
}

fn read(path: &Path) -> Result<Option<File>, SettingsError> {
    let failed = |source| SettingsError::Unreadable { path: path.to_owned(), source };
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    if length > MAX_FILE {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB")));
    }
    let text = fs::read(path).map_err(failed)?;
    serde_json::from_slice(&text).map(Some).map_err(|source| SettingsError::Malformed { path: path.to_owned(), source })
}

/// Whether `host[:port]` is this machine by its very name: no resolver is asked, because it could lie.
pub(super) fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The system refused.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no JSON object of the right form.
    #[error("{} is malformed", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A mirror's address is none.
    #[error("{}: {url:?} is no mirror; one is written as https://host[:port]", .path.display())]
    Mirror {
        /// The file.
        path: PathBuf,
        /// What stands there.
        url: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_by_name() {
        for authority in ["localhost", "LOCALHOST:5000", "127.0.0.1", "127.8.8.8:80", "[::1]", "[::1]:5000"] {
            assert!(is_loopback(authority), "{authority}");
        }
        for authority in ["localhost.example", "128.0.0.1:80", "[::2]:5000", "127.0.0.1.example:80", "docker.io"] {
            assert!(!is_loopback(authority), "{authority}");
        }
    }

    #[test]
    fn files_add_up() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let docker = write(
            "a",
            r#"{"registry-mirrors":["https://m1/"],"insecure-registries":["r:5000","10.0.0.0/8"],"debug":true}"#,
        );
        let hull = write("b", r#"{"mirrors":{"docker.io":["http://localhost:5001"],"a.b":["https://m2/p"]}}"#);
        let settings = Settings::load(&[docker, directory.path().join("absent"), hull]).unwrap();
        assert_eq!(settings.mirrors["docker.io"], ["https://m1/", "http://localhost:5001"]);
        assert_eq!(settings.mirrors["a.b"], ["https://m2/p"]);
        assert!(settings.is_insecure("R:5000") && !settings.is_insecure("r") && settings.insecure.len() == 1);
        assert!(
            settings.allows_plain("r:5000") && settings.allows_plain("localhost:1") && !settings.allows_plain("a.b")
        );
    }

    #[test]
    fn a_wrong_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        for text in ["", "7", r#"{"registry-mirrors":["m1"]}"#, r#"{"mirrors":{"a":["ftp://x"]}}"#] {
            fs::write(&path, text).unwrap();
            let error = Settings::load(std::slice::from_ref(&path)).unwrap_err();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}
