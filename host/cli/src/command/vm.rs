//! `hull vm`: the VMs that containers run in.

use super::{documents, many};
use crate::failure::Failure;
use crate::output;
use crate::table::{Format, Row};
use clap::{Args, Subcommand};
use hull_engine::{Engine, VmSummary};
use jiff::Timestamp;
use serde_json::{Value, json};

const COLUMNS: &str =
    "{{.ID}}\t{{.Name}}\t{{.Status}}\t{{.Backend}}\t{{.Cpus}}\t{{.Memory}}\t{{.RunningFor}}\t{{.Containers}}";

const HEADERS: [(&str, &str); 8] = [
    ("ID", "VM ID"),
    ("Name", "NAME"),
    ("Status", "STATUS"),
    ("Backend", "BACKEND"),
    ("Cpus", "CPUS"),
    ("Memory", "MEMORY"),
    ("RunningFor", "CREATED"),
    ("Containers", "CONTAINERS"),
];

const JSON_FIELDS: [&str; 8] = ["Backend", "Containers", "Cpus", "ID", "Memory", "Name", "RunningFor", "Status"];

/// Manage VMs.
#[derive(Debug, Args)]
pub struct Vm {
    #[command(subcommand)]
    command: VmCommand,
}

#[derive(Debug, Subcommand)]
enum VmCommand {
    /// List VMs: named ones, and those of single containers
    Ls(List),
    /// Print everything about VMs as JSON
    Inspect(Inspect),
    /// Stop VMs, with all their containers
    Stop(Stop),
    /// Remove named VMs; their containers stay
    Rm(Remove),
}

#[derive(Debug, Args)]
struct List {
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// `table`, `json`, or a template such as '{{.ID}} {{.Name}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Debug, Args)]
struct Inspect {
    /// `json`, or a template such as '{{.Status}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names or ids
    #[arg(value_name = "VM", required = true)]
    vms: Vec<String>,
}

#[derive(Debug, Args)]
struct Stop {
    /// Names or ids
    #[arg(value_name = "VM", required = true)]
    vms: Vec<String>,
}

#[derive(Debug, Args)]
struct Remove {
    /// Stop a VM that runs
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(value_name = "VM", required = true)]
    vms: Vec<String>,
}

impl Vm {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        match self.command {
            VmCommand::Ls(list) => list.run(&engine),
            VmCommand::Inspect(command) => documents::print_all(&command.vms, command.format.as_deref(), |reference| {
                engine.inspect_vm(&engine.find_vm(reference)?)
            }),
            VmCommand::Stop(command) => many::each(&command.vms, |reference| {
                engine.stop_vm(&engine.find_vm(reference)?)?;
                Ok(reference.to_owned())
            }),
            VmCommand::Rm(command) => many::each(&command.vms, |reference| {
                engine.remove_vm(engine.find_vm(reference)?, command.force)?;
                Ok(reference.to_owned())
            }),
        }
    }
}

impl List {
    fn run(&self, engine: &Engine) -> Result<u8, Failure> {
        let format = Format::parse(self.format.as_deref(), COLUMNS)?;
        let vms = engine.list_vms()?;
        if self.quiet && self.format.is_none() {
            output::print(&vms.iter().map(|vm| format!("{}\n", vm.record.id)).collect::<String>())?;
            return Ok(0);
        }
        let now = Timestamp::now();
        let rows: Vec<_> = vms.iter().map(|vm| row(vm, now)).collect();
        output::print(&format.render(&rows, &HEADERS, &JSON_FIELDS)?)?;
        Ok(0)
    }
}

fn row(vm: &VmSummary, now: Timestamp) -> Row {
    let record = &vm.record;
    let age = hull_engine::human_duration(now.as_second() - record.created_at.as_second());
    let fields = json!({
        "ID": record.id,
        "Name": record.name.clone().unwrap_or_default(),
        "Status": if vm.running { "running" } else { "stopped" },
        "Backend": record.backend,
        "Cpus": record.machine.vcpus,
        "Memory": format!("{}MiB", record.machine.memory_mib),
        "RunningFor": format!("{age} ago"),
        "Containers": vm.containers.join(","),
    });
    match fields {
        Value::Object(row) => row,
        _ => Row::new(),
    }
}
