//! The distribution project's registry, as Debian packages it (`docker-registry`), on a port of loopback.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// `ann` with the password `secret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "ann:$2y$05$hvTokAdDxLw8ugT7rkigQ.ysOkY9SaRM7fkrh4/PVz6yR2t.MosAu\n";

pub const USER: &str = "ann";
pub const PASSWORD: &str = "secret";

/// A registry that ends with this value.
pub struct Server {
    child: Child,
    pub authority: String,
    directory: TempDir,
}

#[derive(Clone, Copy, Default)]
pub struct Options {
    pub tls: bool,
    pub password: bool,
}

impl Server {
    pub fn start(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let configuration = directory.path().join("config.yml");
        fs::write(&configuration, text(directory.path(), free.port(), options)).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("docker-registry: {error}; this test needs Debian's package of that name"));
        let mut server = Self { child, authority: format!("localhost:{}", free.port()), directory };
        server.wait();
        server
    }

    fn wait(&mut self) {
        let address = self.authority.replace("localhost", "127.0.0.1");
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&address).is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("docker-registry ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "docker-registry does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The certificate of the authority that signed the server's.
    pub fn authority_certificate(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    /// A `certs.d` with that certificate in it.
    pub fn certificates(&self) -> PathBuf {
        let directory = self.directory.path().join("certs.d");
        let own = directory.join(&self.authority);
        fs::create_dir_all(&own).unwrap();
        fs::copy(self.authority_certificate(), own.join("ca.crt")).unwrap();
        directory
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn text(directory: &Path, port: u16, options: Options) -> String {
    let root = directory.join("data");
    let mut text = format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
         http:\n  addr: 127.0.0.1:{port}\n",
        root.display()
    );
    if options.tls {
        make_certificates(directory);
        let (certificate, key) = (directory.join("server.crt"), directory.join("server.key"));
        text.push_str(&format!("  tls: {{certificate: {}, key: {}}}\n", certificate.display(), key.display()));
    }
    if options.password {
        let path = directory.join("htpasswd");
        fs::write(&path, HTPASSWD).unwrap();
        text.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display()));
    }
    text
}

fn make_certificates(directory: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    fs::write(directory.join("ca.crt"), authority.pem()).unwrap();
    fs::write(directory.join("server.crt"), certificate.pem()).unwrap();
    fs::write(directory.join("server.key"), key.serialize_pem()).unwrap();
}
