//! Runs tests one after the other, each in a thread so that a panic fails it alone, and says why one is skipped.

use crate::assets::Assets;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What a test may take, on a slow machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A test: what it needs of the machine, and itself.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) body: fn(&Assets),
}

/// What a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A controller of control groups, version 2.
    Controller(&'static str),
    /// BPF programs for devices.
    DeviceRules,
    /// User namespaces.
    UserNamespaces,
}

/// The tests whose names contain the first argument, or all.
pub(crate) fn run(tests: &[Test]) -> ExitCode {
    // What a machine that is meant to have everything lacks is a failure.
    let required = std::env::var_os("HULL_TEST_REQUIRE").is_some();
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let assets = match Assets::find() {
        Ok(assets) => assets,
        Err(reason) => {
            println!("skipped: {} tests with containers: {reason}", tests.len());
            return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let mut failed = Vec::new();
    for test in tests.iter().filter(|test| test.name.contains(&filter)) {
        if let Some(reason) = test.needs.iter().find_map(|need| assets.lacks(*need)) {
            println!("{}: skipped: {reason}", test.name);
            failed.extend(required.then_some(test.name));
            continue;
        }
        let (started, body, assets) = (Instant::now(), test.body, assets.clone());
        let (done, end) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let _done = done;
            body(&assets);
        });
        if end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            // Its agents end with this process.
            println!("{}: FAILED (not done after {} s)", test.name, LIMIT.as_secs());
            return ExitCode::FAILURE;
        }
        let outcome = thread.join();
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("{}: {verdict} ({} ms)", test.name, started.elapsed().as_millis());
        if outcome.is_err() {
            failed.push(test.name);
        }
    }
    assets.clean_up();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {failed:?}");
    ExitCode::FAILURE
}
