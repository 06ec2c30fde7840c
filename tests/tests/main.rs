//! End-to-end suites by behaviour: one file for each, every test on every backend (`hull_tests::suite`).
//!
//! One program holds them all, so that the tests which are about containers share one VM and one boot. To run some:
//! `cargo test -p hull-tests -- terminal::`.

mod bad_input;
mod exec;
mod faults;
mod guest;
mod images;
mod isolation;
mod lifecycle;
mod limits;
mod logs;
mod output;
mod run;
mod stock_kernel;
mod streams;
mod terminal;
mod vm;

use std::process::ExitCode;

fn main() -> ExitCode {
    let suites = [
        run::TESTS,
        terminal::TESTS,
        exec::TESTS,
        lifecycle::TESTS,
        logs::TESTS,
        vm::TESTS,
        limits::TESTS,
        isolation::TESTS,
        faults::TESTS,
        guest::TESTS,
        images::TESTS,
        bad_input::TESTS,
        output::TESTS,
        streams::TESTS,
        stock_kernel::TESTS,
    ];
    hull_tests::suite::main(&suites.concat())
}
