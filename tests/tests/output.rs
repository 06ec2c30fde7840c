//! What hull says of itself and of this host.

use anyhow::{Context, Result, ensure};
use hull_tests::command::NOTICE;
use hull_tests::host::Host;
use hull_tests::tests;
use serde_json::Value;

tests![version, info, doctor, help, completion, software_is_announced_once, nothing_is_made_by_looking,];

fn version(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let expected = env!("CARGO_PKG_VERSION");
    ensure!(sandbox.hull(["version"]).output()?.ok()?.out().contains(expected));
    ensure!(sandbox.hull(["--version"]).output()?.ok()?.out().contains(expected));
    let document = sandbox.hull(["version", "--format", "json"]).output()?.ok()?.json()?;
    ensure!(document.to_string().contains(expected), "{document:#}");
    Ok(())
}

fn info(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let container = sandbox.create(&[], &["true"])?;
    let text = sandbox.hull(["info"]).output()?.ok()?;
    let root = sandbox.root().display().to_string();
    ensure!(text.out().contains(&root) && text.out().contains("Containers: 1"), "{}", text.describe());
    let document = sandbox.hull(["info", "--format", "json"]).output()?.ok()?.json()?;
    assert_eq!(document["Containers"], 1, "{document:#}");
    assert_eq!(document["ContainersRunning"], 0, "{document:#}");
    container.does("rm", &[])?;
    Ok(())
}

fn doctor(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let finished = sandbox.hull(["doctor"]).output()?.ok()?;
    for backend in ["kvm", "qemu"] {
        ensure!(finished.out().contains(backend), "{}", finished.describe());
    }
    ensure!(finished.out().to_lowercase().contains("software"), "{}", finished.describe());
    let document = sandbox.hull(["doctor", "--format", "json"]).output()?.ok()?.json()?;
    ensure!(find(&document, &host.backend), "no {} in {document:#}", host.backend);
    Ok(())
}

/// Whether a text equal to `wanted` stands anywhere in the document.
fn find(document: &Value, wanted: &str) -> bool {
    match document {
        Value::String(text) => text == wanted,
        Value::Array(items) => items.iter().any(|item| find(item, wanted)),
        Value::Object(fields) => fields.values().any(|field| find(field, wanted)),
        _ => false,
    }
}

fn help(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let text = sandbox.hull(["--help"]).output()?.ok()?;
    let commands = ["run", "create", "start", "exec", "ps", "logs", "stop", "kill", "wait", "rm", "inspect", "attach"];
    for command in commands.into_iter().chain(["vm", "version", "info", "doctor", "completion"]) {
        let listed = text.lines().iter().any(|line| line.split_whitespace().next() == Some(command));
        ensure!(listed, "no {command} in\n{}", text.out());
        let help = sandbox.hull([command, "--help"]).output()?.ok()?;
        ensure!(help.out().to_lowercase().contains("usage: hull"), "{}", help.describe());
    }
    for hidden in ["shim", "vmm"] {
        let listed = text.lines().iter().any(|line| line.split_whitespace().next() == Some(hidden));
        ensure!(!listed, "{hidden} is not for people");
    }
    Ok(())
}

fn completion(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    for shell in ["bash", "zsh", "fish"] {
        let finished = sandbox.hull(["completion", shell]).output()?.ok()?;
        ensure!(finished.out().contains("hull"), "{}", finished.describe());
    }
    let script = sandbox.hull(["completion", "bash"]).output()?.ok()?.out();
    sandbox.command("bash").args(["-n", "-c", &script]).output()?.ok()?;
    Ok(())
}

fn software_is_announced_once(host: &Host) -> Result<()> {
    let finished = host.fresh()?.run(&[], &["true"])?.ok()?;
    let notices: Vec<_> = finished.err().lines().filter(|line| line.starts_with(NOTICE)).map(str::to_owned).collect();
    if host.backend == "qemu" {
        let notice = notices.first().with_context(|| finished.describe())?.to_lowercase();
        ensure!(
            notices.len() == 1 && notice.contains("qemu") && notice.contains("software"),
            "{}",
            finished.describe()
        );
    } else {
        ensure!(notices.is_empty(), "{}", finished.describe());
    }
    assert_eq!(finished.err().lines().count(), notices.len(), "nothing else: {}", finished.describe());
    Ok(())
}

fn nothing_is_made_by_looking(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    for args in [&["ps", "-a"][..], &["vm", "ls"], &["info"], &["version"], &["doctor"], &["inspect", "x"]] {
        sandbox.hull(args).output()?;
    }
    ensure!(sandbox.hull(["ps", "--format", "json"]).output()?.ok()?.stdout.is_empty());
    sandbox.require_nothing_left()
}
