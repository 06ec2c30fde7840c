//! `hull doctor`: what this host offers, what would be used, what is missing and what to do about it.
//!
//! It works on hosts where nothing else does: what cannot be had, such as the state directory, is a line of the report and
//! no failure.

use crate::assets::{Assets, BootFiles};
use crate::backend::BackendReport;
use crate::engine::Engine;
use hull_protocol::line;
use hull_protocol::trial::Trial;
use hull_state::StateRoot;
use serde::Serialize;
use std::env::consts;
use std::path::Path;

/// The report.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Doctor {
    /// hull's version.
    pub version: &'static str,
    /// The host's system.
    pub os: &'static str,
    /// The host's processor.
    pub arch: &'static str,
    /// The host's processors.
    pub cpus: usize,
    /// The backends, in order of preference.
    pub backends: Vec<BackendReport>,
    /// Everything else that must be right.
    pub checks: Vec<Check>,
    /// Whether a container can be run.
    pub ready: bool,
}

/// One thing that must be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it is.
    pub ok: bool,
    /// How it is, or what to do.
    pub detail: String,
}

impl Check {
    fn new(name: &'static str, result: Result<String, String>) -> Self {
        let (Ok(detail) | Err(detail)) = &result;
        Self { name, ok: result.is_ok(), detail: detail.clone() }
    }
}

impl Doctor {
    /// Looks at everything; probes the backends by running code where looking does not tell.
    pub fn examine() -> Self {
        let backends = Engine::backends();
        let checks = checks();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            os: consts::OS,
            arch: consts::ARCH,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            ready: backends.iter().any(|backend| backend.available) && checks.iter().all(|check| check.ok),
            backends,
            checks,
        }
    }
}

fn checks() -> Vec<Check> {
    let mut checks = vec![Check::new("data root", data_root()), Check::new("runtime directory", runtime_directory())];
    if cfg!(target_os = "linux") {
        checks.push(Check::new("jail", jail()));
    }
    match Assets::find() {
        Err(error) => checks.push(Check::new("assets", Err(line::of(&error)))),
        Ok(assets) => {
            checks.push(Check::new("assets", Ok(assets.path().display().to_string())));
            checks.push(Check::new("kernel", kernel(&assets)));
            checks.push(Check::new("writable layer", shown(assets.data_template())));
            checks.push(Check::new("built-in image", image(&assets)));
        }
    }
    checks
}

/// Has a child confine itself as the process that serves a VM's devices does, and try what is forbidden then.
fn jail() -> Result<String, String> {
    let program = hull_platform::process::current_exe().map_err(|error| line::of(&error))?;
    let output =
        std::process::Command::new(program).args(["vmm", "--try-jail"]).output().map_err(|error| line::of(&error))?;
    let Ok(trial) = serde_json::from_slice::<Trial>(&output.stdout) else {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(why.lines().next().unwrap_or("the trial of the jail failed").to_owned());
    };
    match trial.allowed.as_slice() {
        [] => Ok(format!("{} ({} attempts refused)", trial.layers.join(", "), trial.refused.len())),
        allowed => Err(format!("does not keep it from: {}", allowed.join(", "))),
    }
}

fn data_root() -> Result<String, String> {
    let root = hull_platform::dirs::data_root().map_err(|error| line::of(&error))?;
    StateRoot::open(&root).map_err(|error| line::of(&error))?;
    Ok(root.display().to_string())
}

fn runtime_directory() -> Result<String, String> {
    let directory = hull_platform::dirs::runtime_dir().map_err(|error| line::of(&error))?;
    Ok(directory.display().to_string())
}

fn kernel(assets: &Assets) -> Result<String, String> {
    let BootFiles { kernel, stock, .. } = assets.boot_files().map_err(|error| line::of(&error))?;
    let whose =
        if stock { "Debian's kernel, which boots slowly: `./x kernel` builds hull's own" } else { "hull's own" };
    Ok(format!("{} ({whose})", kernel.path.display()))
}

fn image(assets: &Assets) -> Result<String, String> {
    let image = crate::image::built_in(assets, "hull/busybox").map_err(|error| line::of(&error))?;
    Ok(image.rootfs.iter().map(|path| path.display().to_string()).collect())
}

fn shown(path: Result<impl AsRef<Path>, crate::AssetsError>) -> Result<String, String> {
    path.map(|path| path.as_ref().display().to_string()).map_err(|error| line::of(&error))
}
