//! The distribution project's registry, as Debian packages it (`docker-registry`), on a port of loopback.

use crate::wait_until;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A user of a registry that wants a password, and the password.
pub const ANN: (&str, &str) = ("ann", "secret");

/// `ann` with the password `secret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "ann:$2y$05$hvTokAdDxLw8ugT7rkigQ.ysOkY9SaRM7fkrh4/PVz6yR2t.MosAu\n";

/// A registry that ends with this value.
pub struct Registry {
    child: Child,
    /// `localhost:PORT`
    pub authority: String,
    _directory: TempDir,
}

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guests {
    /// Everybody.
    Everybody,
    /// [`ANN`] alone.
    Ann,
}

impl Registry {
    /// Starts an empty one.
    ///
    /// # Errors
    /// If it does not come to listen.
    pub fn start(guests: Guests) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("hull-registry-").tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let path = directory.path();
        let mut text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            path.join("data").display()
        );
        if guests == Guests::Ann {
            let users = path.join("htpasswd");
            fs::write(&users, HTPASSWD)?;
            text.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", users.display()));
        }
        let configuration = path.join("config.yml");
        fs::write(&configuration, text)?;
        let log = File::create(path.join("log"))?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("docker-registry, which is in Debian's package of that name")?;
        let mut registry = Self { child, authority: format!("localhost:{port}"), _directory: directory };
        wait_until("docker-registry listens", Duration::from_secs(20), || {
            ensure!(registry.child.try_wait()?.is_none(), "docker-registry has ended");
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
        })?;
        Ok(registry)
    }

    /// The name of an image in it.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.authority)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
