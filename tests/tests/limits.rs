//! Limits: a container that reaches one suffers alone.

use anyhow::{Result, ensure};
use hull_tests::container::Container;
use hull_tests::host::Host;
use hull_tests::tests;

tests![
    pids_limit_stops_a_fork_bomb,
    memory_limit_kills_the_container_alone,
    memory_limit_in_a_vm_of_its_own,
    an_exec_that_runs_out_of_memory,
    cpu_limit_throttles,
    no_limits_unless_asked,
    small_vm,
];

/// Takes memory until it is killed; `tail` keeps what it reads.
const EAT: &str = "echo eating; tail /dev/zero";

fn neighbour_lives(neighbour: &Container<'_>) -> Result<()> {
    assert_eq!(neighbour.status()?, "running");
    assert_eq!(neighbour.sh("echo well")?, "well");
    Ok(())
}

fn pids_limit_stops_a_fork_bomb(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let neighbour = vm.idle(&[])?;
    let bomb = "bomb() { bomb & bomb & wait; }; echo start; bomb 2>/dev/null; while :; do sleep 1; done";
    let container = vm.start(&["--pids-limit", "40"], &["sh", "-c", bomb])?;
    container.wait_for_log("start")?;
    neighbour_lives(&neighbour)?;
    container.does("kill", &[])?;
    assert_eq!(container.wait()?, 137);
    neighbour_lives(&neighbour)?;
    let counted = "for i in $(seq 60); do sleep 100 2>/dev/null & done; true; cat /sys/fs/cgroup/pids.max";
    ensure!(vm.run(&["--pids-limit", "20"], &["sh", "-c", counted])?.err().contains("fork"));
    Ok(())
}

fn memory_limit_kills_the_container_alone(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let neighbour = vm.idle(&[])?;
    let container = vm.start(&["--memory", "32m"], &["sh", "-c", EAT])?;
    assert_eq!(container.wait()?, 137);
    let state = container.inspect()?["State"].clone();
    ensure!(state["OOMKilled"] == true && state["Status"] == "exited", "{state:#}");
    neighbour_lives(&neighbour)?;
    // Ending by itself is not the limit's doing.
    let container = vm.start(&["--memory", "32m"], &["sh", "-c", "exit 137"])?;
    container.wait()?;
    assert_eq!(container.inspect()?["State"]["OOMKilled"], false);
    Ok(())
}

fn memory_limit_in_a_vm_of_its_own(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let container = sandbox.start(&["--memory", "48m"], &["sh", "-c", EAT])?;
    assert_eq!(container.wait()?, 137);
    assert_eq!(container.inspect()?["State"]["OOMKilled"], true, "the limit killed it, not the VM's size");
    sandbox.wait_for_no_process()
}

fn an_exec_that_runs_out_of_memory(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&["--memory", "32m"])?;
    // The cgroup is killed as one: a container without half of its processes would be no good.
    container.exec(&[], &["sh", "-c", EAT]).output()?.code(137)?;
    Ok(())
}

fn cpu_limit_throttles(host: &Host) -> Result<()> {
    let script = "cat /sys/fs/cgroup/cpu.max; i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done
        grep nr_throttled /sys/fs/cgroup/cpu.stat | cut -d' ' -f2";
    let lines = host.shared()?.sh(&["--cpus", "0.2"], script)?;
    let (limit, throttled) = lines.split_once('\n').unwrap_or_default();
    assert_eq!(limit, "20000 100000");
    ensure!(throttled.parse::<u64>()? > 0, "it was never held back");
    Ok(())
}

fn no_limits_unless_asked(host: &Host) -> Result<()> {
    let script = "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max";
    assert_eq!(host.shared()?.sh(&[], script)?, "max\nmax 100000\nmax");
    assert_eq!(host.shared()?.sh(&["--memory", "64m", "--pids-limit", "9"], script)?, "67108864\nmax 100000\n9");
    Ok(())
}

fn small_vm(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let script = "dd if=/dev/zero of=/file bs=1M count=16 2>/dev/null; sync; wc -c < /file";
    assert_eq!(sandbox.sh(&["--vm-memory", "64m"], script)?, "16777216");
    Ok(())
}
