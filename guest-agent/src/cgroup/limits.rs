//! Limits of the runtime specification (`config-linux.md`, Control groups), which speaks of version 1, as files of
//! version 2.

use crate::document::{Cpu, Memory, Resources};
use crate::error::{Result, invalid, unsupported};
use std::borrow::Cow;

/// One value for one file of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Name of the file.
    pub file: Cow<'static, str>,
    /// What to write.
    pub value: String,
    /// The kernel may lack the file without harm.
    pub optional: bool,
}

impl Setting {
    fn new(file: &'static str, value: impl ToString) -> Self {
        Self { file: Cow::Borrowed(file), value: value.to_string(), optional: false }
    }
}

/// The settings that a document asks for.
///
/// # Errors
/// What cannot be a limit.
pub fn settings(resources: &Resources) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    if let Some(cpu) = &resources.cpu {
        cpu_settings(cpu, &mut settings);
    }
    if let Some(memory) = &resources.memory {
        memory_settings(memory, &mut settings)?;
    }
    if let Some(pids) = resources.pids {
        settings.push(Setting::new("pids.max", or_max(pids.limit)));
    }
    for (file, value) in &resources.unified {
        if file.is_empty() || file.contains('/') || file.starts_with("cgroup.") {
            return Err(invalid(format!("{file:?} is not the name of a limit")));
        }
        settings.push(Setting { file: Cow::Owned(file.clone()), value: value.clone(), optional: false });
    }
    Ok(settings)
}

fn cpu_settings(cpu: &Cpu, settings: &mut Vec<Setting>) {
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        settings.push(Setting::new("cpu.weight", weight(shares)));
    }
    if cpu.quota.is_some() || cpu.period.is_some() {
        let quota = cpu.quota.map_or_else(|| "max".to_owned(), or_max);
        // The kernel's own period, in microseconds.
        let period = cpu.period.filter(|period| *period != 0).unwrap_or(100_000);
        settings.push(Setting::new("cpu.max", format!("{quota} {period}")));
    }
    if let Some(burst) = cpu.burst {
        settings.push(Setting::new("cpu.max.burst", burst));
    }
    if let Some(idle) = cpu.idle {
        settings.push(Setting::new("cpu.idle", idle));
    }
    for (file, set) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
        if let Some(set) = set.as_ref().filter(|set| !set.is_empty()) {
            settings.push(Setting::new(file, set));
        }
    }
}

fn memory_settings(memory: &Memory, settings: &mut Vec<Setting>) -> Result<()> {
    if memory.disable_oom_killer {
        return Err(unsupported("version 2 of control groups cannot disable the out-of-memory killer"));
    }
    let limit = memory.limit.filter(|limit| *limit != 0);
    if let Some(swap) = memory.swap.filter(|swap| *swap != 0) {
        // Version 1 counts memory and swap together, version 2 swap alone.
        let alone = match limit {
            _ if swap < 0 => "max".to_owned(),
            Some(limit) if limit > 0 && swap >= limit => (swap - limit).to_string(),
            _ => {
                return Err(invalid(format!(
                    "a limit of {swap} bytes for memory and swap needs one for memory under it"
                )));
            }
        };
        // A kernel without swap has no file, and nothing to limit.
        settings.push(Setting { optional: true, ..Setting::new("memory.swap.max", alone) });
    }
    if let Some(limit) = limit {
        settings.push(Setting::new("memory.max", or_max(limit)));
    }
    if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
        settings.push(Setting::new("memory.low", or_max(reservation)));
    }
    Ok(())
}

/// Version 1 writes "no limit" as a number under 1.
fn or_max(value: i64) -> String {
    if value > 0 { value.to_string() } else { "max".to_owned() }
}

/// Shares, 2 to 262144 with 1024 as the usual, to a weight, 1 to 10000: a straight line through both ends.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// The figure after `key` in lines of `key value`.
pub(super) fn find_figure(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(json: &str) -> Vec<String> {
        let resources = serde_json::from_str(json).unwrap();
        settings(&resources).unwrap().into_iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect()
    }

    fn refused(json: &str) -> String {
        settings(&serde_json::from_str(json).unwrap()).unwrap_err().message
    }

    #[test]
    fn cpu_limits() {
        assert_eq!(rendered(r#"{"cpu":{"quota":150000,"period":100000}}"#), ["cpu.max=150000 100000"]);
        assert_eq!(rendered(r#"{"cpu":{"quota":-1}}"#), ["cpu.max=max 100000"]);
        assert_eq!(rendered(r#"{"cpu":{"period":50000}}"#), ["cpu.max=max 50000"]);
        assert_eq!(rendered(r#"{"cpu":{"shares":1024,"cpus":"0-1","mems":""}}"#), ["cpu.weight=39", "cpuset.cpus=0-1"]);
        assert_eq!(rendered(r#"{"cpu":{"burst":5,"idle":1,"shares":0}}"#), ["cpu.max.burst=5", "cpu.idle=1"]);
    }

    #[test]
    fn shares_become_weights_within_the_kernels_range() {
        assert_eq!([0, 2, 1024, 262_144, u64::MAX].map(weight), [1, 1, 39, 10_000, 10_000]);
    }

    #[test]
    fn memory_limits_count_swap_alone() {
        assert_eq!(rendered(r#"{"memory":{"limit":1000,"swap":1000}}"#), ["memory.swap.max=0", "memory.max=1000"]);
        assert_eq!(rendered(r#"{"memory":{"limit":1000,"swap":1500}}"#), ["memory.swap.max=500", "memory.max=1000"]);
        assert_eq!(rendered(r#"{"memory":{"limit":-1,"swap":-1}}"#), ["memory.swap.max=max", "memory.max=max"]);
        assert_eq!(rendered(r#"{"memory":{"reservation":7}}"#), ["memory.low=7"]);
        assert!(refused(r#"{"memory":{"limit":1000,"swap":999}}"#).contains("999"));
        assert!(refused(r#"{"memory":{"swap":999}}"#).contains("999"));
        assert!(refused(r#"{"memory":{"disableOOMKiller":true}}"#).contains("killer"));
    }

    #[test]
    fn pids_and_unified() {
        assert_eq!(rendered(r#"{"pids":{"limit":64}}"#), ["pids.max=64"]);
        assert_eq!(rendered(r#"{"pids":{"limit":-1}}"#), ["pids.max=max"]);
        assert_eq!(rendered(r#"{"unified":{"memory.high":"5"}}"#), ["memory.high=5"]);
        for bad in ["../x", "", "cgroup.procs"] {
            assert!(refused(&format!(r#"{{"unified":{{"{bad}":"5"}}}}"#)).contains("name"), "{bad}");
        }
    }

    #[test]
    fn figures_are_found_by_their_whole_name() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(find_figure(events, "oom_kill"), Some(2));
        assert_eq!(find_figure(events, "oom"), Some(3));
        assert_eq!(find_figure(events, "oom_"), None);
        assert_eq!(find_figure("oom_kill x\n", "oom_kill"), None);
        assert_eq!(find_figure("", "oom_kill"), None);
    }
}
