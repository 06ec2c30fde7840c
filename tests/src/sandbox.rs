//! A state root and runtime directory of its own for a test, and the check that nothing of it is left.

use crate::command::{Command, Finished};
use crate::container::Container;
use crate::install::Install;
use crate::process::{self, Process};
use crate::terminal::Terminal;
use crate::{IMAGE, wait_until};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// How long the processes of a VM that was told to end may take to be gone.
const GONE: Duration = Duration::from_secs(10);

thread_local! {
    /// What sandboxes that ended in this thread have left: [`Sandbox`] is dropped where no error can be returned.
    static LEFT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What the sandboxes that were dropped in this thread have left behind since the last call.
pub fn take_left() -> Vec<String> {
    LEFT.with(RefCell::take)
}

/// A hull with nothing in it. When it is dropped, what runs in it is ended by hull's own commands, and what is left
/// after that is reported through [`take_left`].
pub struct Sandbox {
    directory: TempDir,
    install: Install,
    backend: String,
    vm: Option<String>,
    names: AtomicUsize,
}

impl Sandbox {
    /// An empty sandbox whose containers run on `backend`, in VMs of their own or all in the named `vm`.
    ///
    /// # Errors
    /// If the directories cannot be made.
    pub fn new(install: &Install, backend: &str, vm: Option<&str>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("hull-").tempdir().context("cannot make a directory")?;
        let sandbox = Self {
            directory,
            install: install.clone(),
            backend: backend.to_owned(),
            vm: vm.map(str::to_owned),
            names: AtomicUsize::new(0),
        };
        for path in [sandbox.root(), sandbox.runtime()] {
            fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(sandbox)
    }

    /// Its own directory, for a test's files too.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Its `HULL_ROOT`.
    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// Its `HULL_RUNTIME_DIR`.
    pub fn runtime(&self) -> PathBuf {
        self.path().join("run")
    }

    /// The program and assets it uses.
    pub fn install(&self) -> &Install {
        &self.install
    }

    /// A name that no other container of this sandbox has.
    pub fn name(&self, stem: &str) -> String {
        format!("{stem}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// `program` with this sandbox's environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(program)
            .env_remove("HULL_BACKEND")
            .env("HULL_ROOT", self.root())
            .env("HULL_RUNTIME_DIR", self.runtime())
            .env("HULL_ASSETS", &self.install.assets)
            // Nobody's credentials and settings but the test's.
            .env("DOCKER_CONFIG", self.path().join("docker"))
            .env("XDG_CONFIG_HOME", self.path().join("config"))
    }

    /// `hull ARGS`.
    pub fn hull<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.command(&self.install.hull).args(args)
    }

    /// The options that say where a container runs.
    pub fn place(&self) -> Vec<String> {
        let vm = self.vm.iter().flat_map(|name| ["--vm".to_owned(), name.clone()]);
        ["--backend".to_owned(), self.backend.clone()].into_iter().chain(vm).collect()
    }

    /// `hull VERB [where it runs] OPTIONS IMAGE COMMAND`, for `run` and `create`.
    pub fn with_image(&self, verb: &str, options: &[&str], command: &[&str]) -> Command {
        self.hull([verb]).args(self.place()).args(options).arg(IMAGE).args(command)
    }

    /// Runs `hull run --rm OPTIONS IMAGE COMMAND` to its end.
    ///
    /// # Errors
    /// See [`Command::output`].
    pub fn run(&self, options: &[&str], command: &[&str]) -> Result<Finished> {
        self.with_image("run", &[&["--rm"], options].concat(), command).output()
    }

    /// Runs a shell script in a container and requires exit status 0; the output without white space at the end.
    ///
    /// # Errors
    /// See [`Finished::ok`].
    pub fn sh(&self, options: &[&str], script: &str) -> Result<String> {
        Ok(self.run(options, &["sh", "-c", script])?.ok()?.out())
    }

    /// A container in the background: `hull run -d OPTIONS IMAGE COMMAND`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&self, options: &[&str], command: &[&str]) -> Result<Container<'_>> {
        let finished = self.with_image("run", &[&["-d"], options].concat(), command).output()?.ok()?;
        Container::new(self, finished.out())
    }

    /// A container that only waits, to exec into.
    ///
    /// # Errors
    /// If it does not start.
    pub fn idle(&self, options: &[&str]) -> Result<Container<'_>> {
        self.start(options, &["sleep", "1000000"])
    }

    /// A container that was created and not started: `hull create OPTIONS IMAGE COMMAND`.
    ///
    /// # Errors
    /// If it is not created.
    pub fn create(&self, options: &[&str], command: &[&str]) -> Result<Container<'_>> {
        let finished = self.with_image("create", options, command).output()?.ok()?;
        Container::new(self, finished.out())
    }

    /// Starts `command` on a pseudo-terminal.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn terminal(&self, command: Command) -> Result<Terminal> {
        Terminal::start(command)
    }

    /// The host processes of this sandbox.
    pub fn processes(&self) -> Vec<Process> {
        process::of_root(&self.root())
    }

    /// Waits until no process of this sandbox is left.
    ///
    /// # Errors
    /// Names those that are left.
    pub fn wait_for_no_process(&self) -> Result<()> {
        let waited = wait_until("no process left", GONE, || Ok(self.processes().is_empty()));
        waited.with_context(|| format!("processes: {:#?}", self.processes()))
    }

    /// Requires that there are no containers and VMs, no processes, and no files but those of the root itself.
    ///
    /// # Errors
    /// Names what there is.
    pub fn require_nothing_left(&self) -> Result<()> {
        let listed = self.hull(["ps", "-aq"]).output()?.ok()?;
        ensure!(listed.stdout.is_empty(), "containers are left: {}", listed.out());
        self.wait_for_no_process()?;
        let mut files = Vec::new();
        files_below(&self.root(), &mut files)?;
        files_below(&self.runtime(), &mut files)?;
        // The version, the locks of the directories of names and what probes found out belong to no container.
        let of_root = |name: &str| name == "version" || name == ".lock" || name.starts_with("probe-");
        // Of the store of images only what it is when it is empty.
        let store = ["oci-layout", "index.json", "lock"].map(|name| self.root().join("images").join(name));
        files.retain(|path| !store.contains(path));
        files.retain(|path| !path.file_name().and_then(OsStr::to_str).is_some_and(of_root));
        ensure!(files.is_empty(), "files are left: {files:#?}");
        Ok(())
    }

    /// Ends everything by hull's own commands, then requires that nothing is left.
    fn end(&self) -> Result<()> {
        let containers = self.hull(["ps", "-aq"]).output()?.ok()?.lines();
        if !containers.is_empty() {
            self.hull(["rm", "-f"]).args(containers).output()?.ok()?;
        }
        let vms = self.hull(["vm", "ls", "-q"]).output()?.ok()?.lines();
        if !vms.is_empty() {
            self.hull(["vm", "rm", "-f"]).args(vms).output()?.ok()?;
        }
        if self.root().join("images").exists() {
            self.hull(["image", "prune", "-af"]).output()?.ok()?;
        }
        self.require_nothing_left()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            LEFT.with(|left| left.borrow_mut().push(format!("{}: {error:#}", self.path().display())));
        }
        for process in self.processes() {
            process::signal(process.pid, Signal::KILL).ok();
        }
    }
}

/// Every entry below `directory` that is not a directory.
fn files_below(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files_below(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
