//! Everything about a container, in the shape of Docker's `GET /containers/{id}/json`, with a `Vm` of hull's own.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::list::status_name;
use hull_machine::plan::MachinePlan;
use hull_platform::signals::LinuxSignal;
use hull_state::{ContainerConfig, ContainerDir, ContainerRecord, ContainerState, Status};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// What Docker writes for a time that has not come.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The document.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, documented in its API")]
pub struct Inspect {
    pub id: String,
    pub created: String,
    pub path: String,
    pub args: Vec<String>,
    pub state: State,
    pub image: String,
    pub log_path: String,
    pub name: String,
    pub restart_count: u32,
    pub driver: &'static str,
    pub platform: &'static str,
    pub host_config: HostConfig,
    pub mounts: [(); 0],
    pub config: Config,
    pub network_settings: NetworkSettings,
    pub vm: Vm,
}

/// `State`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, documented in its API")]
pub struct State {
    pub status: &'static str,
    pub running: bool,
    pub paused: bool,
    pub restarting: bool,
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub dead: bool,
    /// In the VM.
    pub pid: u32,
    pub exit_code: u8,
    pub error: String,
    pub started_at: String,
    pub finished_at: String,
}

/// `Config`: what would hold on any host.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, documented in its API")]
pub struct Config {
    pub hostname: String,
    pub domainname: String,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Vec<String>,
    pub cmd: Option<Vec<String>>,
    pub image: String,
    pub working_dir: String,
    pub entrypoint: Option<Vec<String>>,
    pub labels: BTreeMap<String, String>,
    pub stop_signal: String,
    pub stop_timeout: i64,
}

/// `HostConfig`: what depends on the host.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, documented in its API")]
pub struct HostConfig {
    pub auto_remove: bool,
    pub cap_add: Option<Vec<String>>,
    pub cap_drop: Option<Vec<String>>,
    pub init: bool,
    pub memory: u64,
    pub memory_swap: u64,
    pub nano_cpus: u64,
    pub network_mode: &'static str,
    pub pids_limit: Option<i64>,
    pub privileged: bool,
    pub readonly_rootfs: bool,
    pub restart_policy: RestartPolicy,
    pub runtime: &'static str,
    pub tmpfs: Option<BTreeMap<String, String>>,
    pub ulimits: Vec<Ulimit>,
    pub userns_mode: &'static str,
}

/// `HostConfig.RestartPolicy`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, documented in its API")]
pub struct RestartPolicy {
    pub name: &'static str,
    pub maximum_retry_count: u32,
}

/// `HostConfig.Ulimits`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, documented in its API")]
pub struct Ulimit {
    pub name: String,
    pub hard: i64,
    pub soft: i64,
}

/// `NetworkSettings`: there is no network yet.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, documented in its API")]
pub struct NetworkSettings {
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    pub networks: BTreeMap<String, ()>,
    pub ports: BTreeMap<String, ()>,
}

/// The boundary around the container.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Vm {
    /// The VM that it runs in.
    pub id: Option<String>,
    /// Its name, if it is shared.
    pub name: Option<String>,
    /// Whether no other container can be in it.
    pub own: bool,
    /// What runs it.
    pub backend: Option<String>,
    /// Its virtual processors.
    pub cpus: Option<u8>,
    /// Its memory.
    #[serde(rename = "MemoryMiB")]
    pub memory_mib: Option<u32>,
    /// Its kernel's file.
    pub kernel: Option<String>,
}

impl Engine {
    /// Everything about a container.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn inspect(&self, container: &ContainerDir) -> Result<Inspect, EngineError> {
        let (record, state) = (container.record()?, self.settled_state(container)?);
        let mut words = record.config.entrypoint.iter().chain(&record.config.command).cloned();
        Ok(Inspect {
            id: record.id.to_string(),
            created: record.created_at.to_string(),
            path: words.next().unwrap_or_default(),
            args: words.collect(),
            image: record.image_id.clone(),
            log_path: container.log_dir().display().to_string(),
            name: format!("/{}", record.name),
            restart_count: 0,
            driver: "overlayfs",
            platform: "linux",
            host_config: host_config(&record.config),
            mounts: [],
            network_settings: NetworkSettings::default(),
            vm: self.vm_of(&record.config, &state),
            state: docker_state(state),
            config: docker_config(record),
        })
    }

    fn vm_of(&self, config: &ContainerConfig, state: &ContainerState) -> Vm {
        let id = state.vm.as_ref();
        let machine = id.and_then(|id| self.root.vm(id).record::<MachinePlan>().ok());
        let plan = machine.as_ref().map(|record| &record.machine);
        Vm {
            id: id.map(ToString::to_string),
            name: config.vm.name.clone(),
            own: config.vm.name.is_none(),
            cpus: plan.map(|plan| plan.vcpus.get()).or(config.vm.cpus),
            memory_mib: plan.map(|plan| plan.memory_mib).or(config.vm.memory_mib),
            kernel: plan
                .map(|plan| &plan.kernel.path)
                .or(config.vm.kernel.as_ref())
                .map(|path| path.display().to_string()),
            backend: machine.as_ref().map(|record| record.backend.clone()).or_else(|| config.vm.backend.clone()),
        }
    }
}

fn docker_state(state: ContainerState) -> State {
    let time = |time: Option<Timestamp>| time.map_or_else(|| NEVER.to_owned(), |time| time.to_string());
    State {
        status: status_name(state.status),
        running: state.status == Status::Running,
        paused: false,
        restarting: false,
        oom_killed: state.oom_killed,
        dead: false,
        pid: state.pid.unwrap_or_default(),
        exit_code: state.exit_code,
        error: state.error.unwrap_or_default(),
        started_at: time(state.started_at),
        finished_at: time(state.finished_at),
    }
}

fn docker_config(ContainerRecord { config, image, .. }: ContainerRecord) -> Config {
    let signal = LinuxSignal::new(config.stop_signal);
    Config {
        hostname: config.hostname,
        domainname: config.domainname,
        user: config.user,
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: config.env,
        cmd: non_empty(config.command),
        image,
        working_dir: config.working_dir,
        entrypoint: non_empty(config.entrypoint),
        labels: config.labels,
        stop_signal: signal.map_or_else(|| config.stop_signal.to_string(), |signal| signal.to_string()),
        stop_timeout: config.stop_timeout_seconds,
    }
}

fn host_config(config: &ContainerConfig) -> HostConfig {
    let tmpfs = config.tmpfs.iter().map(|tmpfs| (tmpfs.target.clone(), tmpfs.options.join(",")));
    let ulimits =
        config.ulimits.iter().map(|limit| Ulimit { name: limit.name.clone(), hard: limit.hard, soft: limit.soft });
    HostConfig {
        auto_remove: config.auto_remove,
        cap_add: non_empty(config.cap_add.clone()),
        cap_drop: non_empty(config.cap_drop.clone()),
        init: config.init,
        memory: config.memory_bytes.unwrap_or_default(),
        memory_swap: config.memory_bytes.unwrap_or_default(),
        nano_cpus: config.nano_cpus.unwrap_or_default(),
        network_mode: "none",
        pids_limit: config.pids_limit,
        privileged: config.privileged,
        readonly_rootfs: config.read_only,
        restart_policy: RestartPolicy { name: "no", maximum_retry_count: 0 },
        runtime: "hull",
        tmpfs: Some(tmpfs.collect::<BTreeMap<_, _>>()).filter(|tmpfs| !tmpfs.is_empty()),
        ulimits: ulimits.collect(),
        userns_mode: if config.user_namespace { "private" } else { "" },
    }
}

fn non_empty<T>(values: Vec<T>) -> Option<Vec<T>> {
    Some(values).filter(|values| !values.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn states_and_configurations_have_dockers_shape() {
        let state = serde_json::to_value(docker_state(fixtures::state())).unwrap();
        assert_eq!(state["Status"], "created");
        assert_eq!(state["Running"], false);
        assert_eq!(state["OOMKilled"], false);
        assert_eq!(state["StartedAt"], NEVER);

        let mut config = fixtures::config();
        config.command = vec!["sh".to_owned()];
        config.stop_signal = 3;
        let config = serde_json::to_value(docker_config(fixtures::record(config))).unwrap();
        assert_eq!(config["Cmd"], serde_json::json!(["sh"]));
        assert_eq!(config["Entrypoint"], serde_json::Value::Null);
        assert_eq!(config["StopSignal"], "SIGQUIT");
    }
}
