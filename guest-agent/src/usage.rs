//! What a container uses, by its control group.

use crate::cgroup::Cgroup;
use hull_protocol::agent::Usage;

/// The figures of a group; those of absent controllers are zero.
pub fn of(cgroup: &Cgroup) -> Usage {
    let memory = cgroup.number("memory.current").unwrap_or(0);
    // What the kernel would drop first is no use of the container's: so counts Docker.
    let droppable = cgroup.figure("memory.stat", "inactive_file").unwrap_or(0);
    Usage {
        cpu_usec: cgroup.figure("cpu.stat", "usage_usec").unwrap_or(0),
        memory_bytes: memory.saturating_sub(droppable),
        memory_limit: cgroup.number("memory.max"),
        pids: cgroup.number("pids.current").unwrap_or(0),
    }
}
