//! Tests times backends.
//!
//! `HULL_TEST_BACKENDS` lists the backends, separated by commas (default: `qemu`). A test on a backend that is not there
//! fails. A test that cannot run here is skipped with its reason; with `HULL_TEST_REQUIRE` set, that is a failure too.

use crate::host::Host;
use crate::install::Install;
use crate::sandbox;
use anyhow::{Error, Result};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::env;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

/// A test of some behaviour.
#[derive(Clone, Copy)]
pub struct Test {
    /// `suite::name`
    pub name: &'static str,
    /// What runs.
    pub run: fn(&Host) -> Result<()>,
}

/// The tests of the module where it stands: `tests![one, two]`.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        /// The tests of this suite.
        pub(crate) const TESTS: &[$crate::suite::Test] = &[
            $($crate::suite::Test { name: concat!(module_path!(), "::", stringify!($name)), run: $name }),*
        ];
    };
}

/// Why a test cannot run here; return it as an error.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped: {}", self.0)
    }
}

impl std::error::Error for Skip {}

/// Skips the test that calls it unless `condition` holds.
///
/// # Errors
/// [`Skip`]
pub fn only_if(condition: bool, reason: &str) -> Result<()> {
    if condition { Ok(()) } else { Err(Error::new(Skip(reason.to_owned()))) }
}

/// Runs tests on every backend, with the arguments that test programs take.
pub fn main(tests: &[Test]) -> ExitCode {
    let arguments = Arguments::from_args();
    let install = match Install::find() {
        Ok(install) => install,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(101);
        }
    };
    let backends = env::var("HULL_TEST_BACKENDS").unwrap_or_else(|_| "qemu".to_owned());
    let hosts: Vec<_> =
        backends.split(',').map(str::trim).map(|backend| Arc::new(Host::new(install.clone(), backend))).collect();
    let trials = hosts.iter().flat_map(|host| tests.iter().map(|test| trial(*test, host))).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The shared VMs end here, and what they leave is a failure as well.
    drop(hosts);
    let left = sandbox::take_left();
    left.iter().for_each(|left| eprintln!("left behind: {left}"));
    if left.is_empty() { conclusion.exit_code() } else { ExitCode::from(101) }
}

fn trial(test: Test, host: &Arc<Host>) -> Trial {
    let host = Arc::clone(host);
    // The crate's name says nothing: the suite's and the test's do.
    let name = test.name.split_once("::").map_or(test.name, |(_, name)| name);
    let name = format!("{}::{name}", host.backend);
    Trial::ignorable_test(name, move || {
        let result = (test.run)(&host);
        drop(host);
        conclude(result, &sandbox::take_left())
    })
}

fn conclude(result: Result<()>, left: &[String]) -> Result<Completion, Failed> {
    let left: String = left.iter().map(|left| format!("\nleft behind: {left}")).collect();
    match result {
        Ok(()) if left.is_empty() => Ok(Completion::Completed),
        Ok(()) => Err(left.into()),
        Err(error) => match error.downcast_ref::<Skip>() {
            Some(Skip(reason)) if env::var_os("HULL_TEST_REQUIRE").is_none() => Ok(Completion::ignored_with(reason)),
            _ => Err(format!("{error:#}{left}").into()),
        },
    }
}
