//! Debian's own cloud kernel, for a machine on which hull's is not built yet.

use anyhow::{Result, ensure};
use hull_tests::host::Host;
use hull_tests::suite::only_if;
use hull_tests::tests;
use std::time::Duration;

tests![runs_a_container_and_ends];

/// It is slow under a software CPU: about three seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(120);

fn runs_a_container_and_ends(host: &Host) -> Result<()> {
    let kernel = host.install().assets.join("stock/vmlinuz");
    only_if(kernel.exists(), "Debian's kernel is not among the assets: ./x test fetches it")?;
    let sandbox = host.fresh()?;
    if host.backend != "qemu" {
        // It finds its devices by ACPI alone.
        let refused =
            sandbox.with_image("run", &["--rm", "--kernel", &kernel.to_string_lossy()], &["true"]).output()?;
        refused.refused(125, &["needs hull's own kernel", "./x kernel"])?;
        return sandbox.require_nothing_left();
    }
    let options = ["--rm", "-i", "--kernel", &kernel.to_string_lossy(), "--memory", "96m"];
    let script = "uname -r; cat; cat /sys/fs/cgroup/memory.max; exit 6";
    let command = sandbox.with_image("run", &options, &["sh", "-c", script]).stdin("in\n").limit(LIMIT);
    let lines = command.output()?.code(6)?.lines();
    ensure!(lines[0].contains("cloud") && lines[1..] == ["in", "100663296"], "{lines:?}");
    sandbox.require_nothing_left()
}
