//! `hull exec`, and as much of it as there is without a guest.

use crate::report::{Figure, median, spread};
use anyhow::Result;
use hull_tests::command::{Command, Finished};
use hull_tests::sandbox::Sandbox;

const RUNS: usize = 30;

/// Figures of a container that runs.
pub fn measure(sandbox: &Sandbox) -> Result<Vec<Figure>> {
    let container = sandbox.idle(&["--vm", "bench"])?;
    // The first one reads the program from disk and has it translated.
    container.exec(&[], &["true"]).output()?.ok()?;
    let exec = times(|| container.exec(&[], &["true"]))?;
    let shim = times(|| sandbox.hull(["vm", "inspect", "bench"]))?;
    let start = times(|| sandbox.hull(["--version"]))?;
    Ok(vec![
        Figure::promised("hull exec … true", median(&exec), "ms", 120.0, spread(&exec)),
        Figure::stated("round trip to the shim", median(&shim), "ms", format!("hull vm inspect; {}", spread(&shim))),
        Figure::stated("start of the program", median(&start), "ms", format!("hull --version; {}", spread(&start))),
    ])
}

fn times(command: impl Fn() -> Command) -> Result<Vec<f64>> {
    (0..RUNS)
        .map(|_| command().output().and_then(Finished::ok).map(|finished| finished.took.as_secs_f64() * 1e3))
        .collect()
}
