//! The flags that `run` and `create` share, with Docker's names and meanings.

use crate::failure::Failure;
use crate::image_source::ImageFlags;
use crate::value;
use clap::Args;
use hull_engine::CreateRequest;
use hull_platform::signals::LinuxSignal;
use hull_state::{ContainerConfig, Tmpfs, Ulimit, VmConfig};
use std::path::{self, PathBuf};

/// Docker's time between the stop signal and the kill.
const STOP_TIMEOUT_SECONDS: i64 = 10;

/// What a container is.
#[derive(Debug, Args)]
pub struct ContainerFlags {
    /// Name of the container (by default a random one)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub rm: bool,
    /// Set an environment variable; a name alone takes this shell's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User, and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Host name in the container
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// NIS domain name in the container
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// Program in place of the image's entry point; empty: none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Attach a label
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = value::label)]
    label: Vec<(String, String)>,
    /// Run a small init as process 1, which passes signals on and reaps orphans
    #[arg(long)]
    init: bool,
    /// Signal that asks the container to stop (by default the image's, else SIGTERM)
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<LinuxSignal>,
    /// Seconds between that and a kill; negative: for ever
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value_t = STOP_TIMEOUT_SECONDS)]
    stop_timeout: i64,
    /// Say nothing of the backend, or of a pull
    #[arg(short, long)]
    pub quiet: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    pub source: ImageFlags,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    security: SecurityFlags,
    #[command(flatten)]
    vm: VmFlags,
    /// The image, then the command in place of the image's
    #[arg(value_names = ["IMAGE", "COMMAND"], required = true, trailing_var_arg = true, num_args = 1.., hide = true)]
    words: Vec<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitFlags {
    /// Memory; a VM of its own gets that much and a little more
    #[arg(short, long, value_name = "SIZE", value_parser = value::bytes)]
    memory: Option<u64>,
    /// CPUs, such as 1.5; a VM of its own gets as many, rounded up
    #[arg(long, value_name = "NUMBER", value_parser = value::nano_cpus)]
    cpus: Option<u64>,
    /// Processes and threads; -1: no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Limit of a process, such as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = value::ulimit)]
    ulimit: Vec<Ulimit>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Files and rights")]
struct SecurityFlags {
    /// Make the container's root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Mount a file system in memory
    #[arg(long, value_name = "DIR[:OPTIONS]", value_parser = value::tmpfs)]
    tmpfs: Vec<Tmpfs>,
    /// Add a Linux capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a Linux capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Give the container every right within its VM
    #[arg(long)]
    privileged: bool,
    /// User namespace: the VM's, or one of the container's own
    #[arg(long, value_name = "MODE", value_parser = ["host", "private"], default_value = "host")]
    userns: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "VM")]
struct VmFlags {
    /// Share the VM of this name, which is started on first use, in place of a VM of its own
    #[arg(long, value_name = "NAME")]
    vm: Option<String>,
    /// Memory of the VM (by default 1g)
    #[arg(long, value_name = "SIZE", value_parser = value::mebibytes)]
    vm_memory: Option<u32>,
    /// Virtual CPUs of the VM (by default the host's, 4 at most)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..))]
    vm_cpus: Option<u8>,
    /// End the named VM after this time without a container, such as 10m
    #[arg(long, value_name = "TIME", value_parser = value::seconds, requires = "vm")]
    vm_idle_timeout: Option<u64>,
    /// What runs the VM: `hull doctor` lists what there is
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Kernel of the VM
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
}

impl ContainerFlags {
    /// What is asked of the engine; `detached`: nobody will be attached.
    pub fn request(self, detached: bool) -> Result<CreateRequest, Failure> {
        let mut words = self.words.into_iter();
        let image = words.next().unwrap_or_default();
        let env = value::environment(&self.env_file, &self.env).map_err(|why| Failure::new(why).of_hull())?;
        let attached_stdin = self.interactive && !detached;
        let config = ContainerConfig {
            command: words.collect(),
            env,
            working_dir: self.workdir.unwrap_or_default(),
            user: self.user.unwrap_or_default(),
            hostname: self.hostname.unwrap_or_default(),
            domainname: self.domainname.unwrap_or_default(),
            tty: self.tty,
            open_stdin: self.interactive,
            stdin_once: attached_stdin,
            attach_stdin: attached_stdin,
            attach_stdout: !detached,
            attach_stderr: !detached,
            labels: self.label.into_iter().collect(),
            stop_timeout_seconds: self.stop_timeout,
            init: self.init,
            auto_remove: self.rm,
            vm: self.vm.config()?,
            ..self.security.with_limits(self.limits)
        };
        // Docker's `--entrypoint ""` takes the image's away.
        let entrypoint =
            self.entrypoint.map(|program| Some(program).filter(|program| !program.is_empty()).into_iter().collect());
        Ok(CreateRequest { image, name: self.name, entrypoint, stop_signal: self.stop_signal, config })
    }
}

impl SecurityFlags {
    fn with_limits(self, limits: LimitFlags) -> ContainerConfig {
        ContainerConfig {
            read_only: self.read_only,
            tmpfs: self.tmpfs,
            cap_add: self.cap_add,
            cap_drop: self.cap_drop,
            privileged: self.privileged,
            user_namespace: self.userns == "private",
            ulimits: limits.ulimit,
            // Docker's 0 is no limit.
            memory_bytes: limits.memory.filter(|bytes| *bytes > 0),
            nano_cpus: limits.cpus,
            pids_limit: limits.pids_limit.filter(|limit| *limit > 0),
            ..ContainerConfig::default()
        }
    }
}

impl VmFlags {
    fn config(self) -> Result<VmConfig, Failure> {
        // The VM may be started again from another directory.
        let kernel = self.kernel.map(path::absolute).transpose();
        let kernel = kernel.map_err(|error| Failure::new(format!("--kernel: {error}")).of_hull())?;
        Ok(VmConfig {
            name: self.vm,
            memory_mib: self.vm_memory,
            cpus: self.vm_cpus,
            backend: self.backend,
            kernel,
            idle_timeout_seconds: self.vm_idle_timeout,
        })
    }
}
