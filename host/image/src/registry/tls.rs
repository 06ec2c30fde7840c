//! Whom hull trusts: the system's certificate authorities (or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`), and for
//! each registry those in its directory of certificates.

use super::error::RegistryError;
use super::settings::Settings;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// Largest certificate or key file that is read.
const MAX_FILE: u64 = 1 << 20;

/// The system's certificate authorities, read once, when first needed.
#[derive(Debug, Default)]
pub(super) struct SystemRoots(OnceLock<Vec<Certificate<'static>>>);

impl SystemRoots {
    fn get(&self) -> &[Certificate<'static>] {
        self.0.get_or_init(|| {
            let loaded = rustls_native_certs::load_native_certs();
            for error in &loaded.errors {
                log::warn!("reading the system's certificate authorities: {error}");
            }
            loaded.certs.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect()
        })
    }
}

/// What a connection to `authority` accepts and presents.
///
/// # Errors
/// If a file in its directory of certificates is unusable.
pub(super) fn config(authority: &str, settings: &Settings, system: &SystemRoots) -> Result<TlsConfig, RegistryError> {
    let mut extra = Directory::default();
    for parent in &settings.certificates {
        extra.read(&parent.join(authority))?;
    }
    let roots = system.get().iter().cloned().chain(extra.roots).collect::<Vec<_>>();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .client_cert(extra.client)
        .disable_verification(settings.is_insecure(authority))
        .build())
}

/// Where the user would put a certificate authority for `authority`.
pub(super) fn directory_for(authority: &str, settings: &Settings) -> PathBuf {
    settings.certificates.first().map(|parent| parent.join(authority)).unwrap_or_default()
}

/// What the verification of a certificate had to say, if that is what an error is about; also for an error of any
/// other alert or refusal in TLS.
pub(super) fn complaint(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}

/// One `certs.d/<host[:port]>` directory, as Docker has it.
#[derive(Default)]
struct Directory {
    roots: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
}

impl Directory {
    fn read(&mut self, path: &Path) -> Result<(), RegistryError> {
        let unusable =
            |error: &io::Error| RegistryError::Certificate { path: path.to_owned(), reason: error.to_string() };
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(error) => return Err(unusable(&error)),
        };
        let mut files = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| unusable(&error))?;
        files.sort();
        for file in &files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => self.roots.extend(certificates(file)?),
                Some("cert") => self.client = Some(client(file)?),
                _ => {}
            }
        }
        Ok(())
    }
}

fn client(certificate: &Path) -> Result<ClientCert, RegistryError> {
    let chain = certificates(certificate)?;
    let path = certificate.with_extension("key");
    let wrong = |reason: String| RegistryError::Certificate { path: path.clone(), reason };
    let text = read_file(&path)?;
    let key = PrivateKey::from_pem(&text).map_err(|_| wrong("there is no private key in it".to_owned()))?;
    check_pair(&chain, &text).map_err(wrong)?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// The transport takes a pair for granted, so that it is checked here.
fn check_pair(chain: &[Certificate<'_>], key: &[u8]) -> Result<(), String> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| error.to_string())?;
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    let provider = rustls::crypto::ring::default_provider();
    let pair = rustls::sign::CertifiedKey::from_der(chain, key, &provider).map_err(|error| error.to_string())?;
    pair.keys_match().map_err(|error| error.to_string())
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, RegistryError> {
    let wrong = |reason: &str| RegistryError::Certificate { path: path.to_owned(), reason: reason.to_owned() };
    let mut found = Vec::new();
    for item in parse_pem(&read_file(path)?) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate.to_owned()),
            Ok(_) => {}
            Err(_) => return Err(wrong("it is not in PEM format")),
        }
    }
    if found.is_empty() { Err(wrong("there is no certificate in PEM format in it")) } else { Ok(found) }
}

fn read_file(path: &Path) -> Result<Vec<u8>, RegistryError> {
    let wrong = |reason: String| RegistryError::Certificate { path: path.to_owned(), reason };
    let length = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if length > MAX_FILE {
        return Err(wrong("it is larger than 1 MiB".to_owned()));
    }
    fs::read(path).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_directory_adds_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut found = Directory::default();
        found.read(&directory.path().join("host:5000")).unwrap();
        assert!(found.roots.is_empty() && found.client.is_none());
    }

    #[test]
    fn unusable_files_are_named() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("a.crt", "nonsense"), ("a.crt", ""), ("b.cert", "-----BEGIN CERTIFICATE-----\n!\n")] {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            let error = Directory::default().read(directory.path()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
            fs::remove_file(path).unwrap();
        }
    }
}
