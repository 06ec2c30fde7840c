//! Which backend runs a VM.

mod verdict;

use crate::engine::Engine;
use crate::error::EngineError;
use hull_machine::backend::{Capabilities, MachineBackend, Unavailable};
use hull_machine::plan::KernelImage;
use serde::Serialize;

/// The name that stands for the first backend that works.
pub(crate) const AUTO: &str = "auto";

/// A backend that will run a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Its name.
    pub name: &'static str,
    /// The guest's CPU is software: slow, and no security boundary.
    pub software: bool,
}

/// A backend as `hull doctor` tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BackendReport {
    /// Its name.
    pub name: &'static str,
    /// Whether it can be used.
    pub available: bool,
    /// Whether the guest's CPU is software.
    pub software: bool,
    /// Whether it runs VMs when nothing else is asked.
    pub chosen: bool,
    /// What it is, or why it cannot be used.
    pub detail: String,
    /// What would make it usable.
    pub remedy: Option<String>,
}

impl Engine {
    /// Whether there is a backend, and the one that was asked for: without, nothing else helps.
    ///
    /// # Errors
    /// There is none, or it does not work here.
    pub fn require_backend(&self, name: Option<&str>) -> Result<(), EngineError> {
        self.choose_backend(name).map(drop)
    }

    /// The backend with this name, or the first that works.
    pub(crate) fn choose_backend(&self, name: Option<&str>) -> Result<Chosen, EngineError> {
        match name.filter(|name| *name != AUTO) {
            Some(name) => named(name),
            None => match self.automatic.get() {
                Some(chosen) => Ok(chosen.clone()),
                None => automatic().map(|chosen| self.automatic.get_or_init(|| chosen).clone()),
            },
        }
    }

    /// As [`Engine::choose_backend`], for this kernel: one that works and cannot boot it is passed over, unless it was
    /// asked for.
    pub(crate) fn backend_for(&self, name: Option<&str>, kernel: &KernelImage) -> Result<Chosen, EngineError> {
        let chosen = self.choose_backend(name)?;
        let all = hull_machine::backends();
        let refused =
            all.iter().find(|backend| backend.name() == chosen.name).and_then(|backend| backend.boots(kernel).err());
        let Some(why) = refused else { return Ok(chosen) };
        let others = all.iter().filter(|backend| backend.name() != chosen.name && backend.boots(kernel).is_ok());
        let mut others = others.filter_map(|backend| named(backend.name()).ok());
        match others.next().filter(|_| name.is_none_or(|name| name == AUTO)) {
            Some(other) => Ok(other),
            None => Err(EngineError::Invalid(format!("backend {} {why}", chosen.name))),
        }
    }

    /// What every backend has to say.
    pub fn backends() -> Vec<BackendReport> {
        let mut chosen = false;
        let report = |backend: &&'static dyn MachineBackend| {
            let report = match verdict::probe_anew(*backend) {
                Ok(Capabilities { detail, software }) => BackendReport {
                    name: backend.name(),
                    available: true,
                    software,
                    chosen: !chosen,
                    detail,
                    remedy: None,
                },
                Err(Unavailable { reason, remedy }) => BackendReport {
                    name: backend.name(),
                    available: false,
                    software: false,
                    chosen: false,
                    detail: reason,
                    remedy,
                },
            };
            chosen |= report.available;
            report
        };
        hull_machine::backends().iter().map(report).collect()
    }
}

fn named(name: &str) -> Result<Chosen, EngineError> {
    let Some(backend) = hull_machine::backends().iter().find(|backend| backend.name() == name) else {
        let known: Vec<_> = hull_machine::backends().iter().map(|backend| backend.name()).collect();
        return Err(EngineError::Invalid(format!("unknown backend {name:?}: there are {AUTO}, {}", known.join(", "))));
    };
    match verdict::probe(*backend) {
        Ok(capabilities) => Ok(Chosen { name: backend.name(), software: capabilities.software }),
        Err(why) => Err(EngineError::Backend(format!("backend {name} cannot be used: {why}"))),
    }
}

fn automatic() -> Result<Chosen, EngineError> {
    let mut reasons = Vec::new();
    for backend in hull_machine::backends() {
        match verdict::probe(*backend) {
            Ok(capabilities) => return Ok(Chosen { name: backend.name(), software: capabilities.software }),
            Err(why) => reasons.push(format!("{}: {why}", backend.name())),
        }
    }
    let why = if reasons.is_empty() { "none is there yet for this system".to_owned() } else { reasons.join("; ") };
    Err(EngineError::Backend(format!("no backend can run VMs on this host: {why}")))
}
