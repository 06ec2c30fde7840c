//! Measures the figures that hull promises on the `qemu` backend and prints them beside their goals. Run by `./x bench`.

mod cold;
mod exec;
mod instructions;
mod memory;
mod qemu;
mod report;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use hull_tests::install::Install;
use hull_tests::sandbox::{Sandbox, take_left};

/// Measures hull on the qemu backend.
#[derive(Parser)]
struct Arguments {
    /// What to measure; without, everything
    #[arg(value_enum)]
    figures: Vec<Which>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Pairs of runs of `cold`
    #[arg(long, default_value_t = 15)]
    pairs: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// A container in a new VM, against a bare boot
    Cold,
    /// A process in a running container
    Exec,
    /// Resident memory of the host processes
    Memory,
    /// Guest instructions to init and to the handshake
    Instructions,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let install = Install::find()?;
    let which = if arguments.figures.is_empty() { Which::value_variants() } else { &arguments.figures };
    let mut figures = Vec::new();
    for which in which {
        let sandbox = Sandbox::new(&install, "qemu", None)?;
        figures.extend(match which {
            Which::Cold => cold::measure(&sandbox, arguments.pairs)?,
            Which::Exec => exec::measure(&sandbox)?,
            Which::Memory => memory::measure(&sandbox)?,
            Which::Instructions => instructions::measure(&sandbox)?,
        });
    }
    match arguments.format {
        Format::Table => report::print(&figures),
        Format::Json => println!("{}", serde_json::to_string_pretty(&figures)?),
    }
    let left = take_left();
    if !left.is_empty() {
        bail!("left behind: {left:#?}");
    }
    Ok(())
}
