//! `hull doctor`.

use super::documents;
use crate::failure::Failure;
use clap::Args;
use hull_engine::{BackendReport, Check};
use std::fmt::Write;

/// Tell what this host offers, and what is missing.
#[derive(Debug, Args)]
pub struct Doctor {
    /// `json`, or a template such as '{{.Ready}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Doctor {
    pub fn run(self) -> Result<u8, Failure> {
        let report = hull_engine::Doctor::examine();
        documents::print(&report, self.format.as_deref(), || text(&report))?;
        Ok(u8::from(!report.ready))
    }
}

fn text(report: &hull_engine::Doctor) -> String {
    let hull_engine::Doctor { version, os, arch, cpus, backends, checks, ready } = report;
    let mut text = format!("hull {version} on {os}/{arch}, {cpus} CPUs\n\nBackends, the best first:\n");
    backends.iter().for_each(|backend| push_backend(&mut text, backend));
    if backends.is_empty() {
        text.push_str("  none is there yet for this system: hull runs VMs on Linux only so far\n");
    }
    text.push_str("\nEverything else:\n");
    checks.iter().for_each(|check| push_check(&mut text, check));
    text.push_str(if *ready {
        "\nReady: `hull run --rm hull/busybox echo hello`\n"
    } else {
        "\nNot ready: see above.\n"
    });
    text
}

// Writing to a string cannot fail.
fn push_backend(text: &mut String, backend: &BackendReport) {
    let mark = if backend.available { "ok  " } else { "no  " };
    let _ = writeln!(text, "  {mark}{:<6}{}", backend.name, backend.detail);
    if let Some(remedy) = &backend.remedy {
        let _ = writeln!(text, "            -> {remedy}");
    }
    if backend.chosen {
        let warning = if backend.software { ": a software CPU, slow and no security boundary" } else { "" };
        let _ = writeln!(text, "            chosen{warning}");
    }
}

fn push_check(text: &mut String, check: &Check) {
    let _ = writeln!(text, "  {}{:<20}{}", if check.ok { "ok  " } else { "no  " }, check.name, check.detail);
}
