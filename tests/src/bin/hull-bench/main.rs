//! Measures the figures that hull promises and prints them beside their goals. Run by `./x bench`, for the `kvm` backend
//! where there is a KVM, such as in `./x lab`.

mod block;
mod cold;
mod exec;
mod idle;
mod instructions;
mod memory;
mod qemu;
mod reclaim;
mod report;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use hull_tests::install::Install;
use hull_tests::sandbox::{Sandbox, take_left};

/// Measures hull on one backend.
#[derive(Parser)]
struct Arguments {
    /// What to measure; without, everything that is promised for the backend
    #[arg(value_enum)]
    figures: Vec<Which>,
    /// Which backend
    #[arg(long, value_enum, default_value_t = Backend::Qemu)]
    backend: Backend,
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
enum Backend {
    Qemu,
    Kvm,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Kvm => "kvm",
        }
    }

    /// What is promised for it.
    fn figures(self) -> &'static [Which] {
        match self {
            Self::Qemu => &[Which::Cold, Which::Exec, Which::Memory, Which::Instructions],
            Self::Kvm => &[Which::Cold, Which::Exec, Which::Memory, Which::Idle, Which::Block, Which::Reclaim],
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// A container in a new VM, against a bare boot
    Cold,
    /// A process in a running container
    Exec,
    /// Resident memory of the host processes
    Memory,
    /// Guest instructions to init and to the handshake; qemu only
    Instructions,
    /// What an idle guest costs; kvm only
    Idle,
    /// Direct reads and writes, against QEMU's virtio-blk; kvm only
    Block,
    /// Memory that comes back from a guest; kvm only
    Reclaim,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let install = Install::find()?;
    let backend = arguments.backend;
    let which = if arguments.figures.is_empty() { backend.figures() } else { &arguments.figures };
    let mut figures = Vec::new();
    for which in which {
        if !backend.figures().contains(which) {
            bail!("one of these figures is not for the backend {}; see --help", backend.name());
        }
        let sandbox = Sandbox::new(&install, backend.name(), None)?;
        figures.extend(match which {
            Which::Cold => cold::measure(&sandbox, backend, arguments.pairs)?,
            Which::Exec => exec::measure(&sandbox)?,
            Which::Memory => memory::measure(&sandbox, backend)?,
            Which::Instructions => instructions::measure(&sandbox)?,
            Which::Idle => idle::measure(&sandbox)?,
            Which::Block => block::measure(&sandbox)?,
            Which::Reclaim => reclaim::measure(&sandbox)?,
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
