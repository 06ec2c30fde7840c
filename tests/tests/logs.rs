//! `hull logs`: what a container wrote, while it runs and after.

use anyhow::{Context, Result, ensure};
use hull_tests::host::Host;
use hull_tests::tests;

tests![
    streams_stay_apart_and_whole,
    follow_ends_with_the_container,
    follow_shows_what_comes,
    tail,
    timestamps_and_since,
    kept_across_a_restart,
    partial_lines_and_binary,
    of_a_terminal,
    errors,
];

fn streams_stay_apart_and_whole(host: &Host) -> Result<()> {
    let script = "for i in $(seq 500); do echo out $i; echo err $i >&2; done";
    let container = host.shared()?.start(&[], &["sh", "-c", script])?;
    container.wait()?;
    let finished = container.does("logs", &[])?;
    let lines = |stream: &str| (1..=500).map(|number| format!("{stream} {number}\n")).collect::<String>();
    ensure!(
        finished.stdout == lines("out").as_bytes() && finished.stderr == lines("err").as_bytes(),
        "{}",
        finished.describe()
    );
    Ok(())
}

fn follow_ends_with_the_container(host: &Host) -> Result<()> {
    let script = "echo first; while [ ! -e /go ]; do sleep 0.05; done; echo last";
    let container = host.shared()?.start(&[], &["sh", "-c", script])?;
    let mut following = container.hull("logs", &["-f"]).spawn()?;
    following.wait_for("first\n")?;
    container.sh_to_the_end("touch /go")?;
    assert_eq!(following.finish()?.ok()?.stdout, b"first\nlast\n");
    assert_eq!(container.does("logs", &["--follow"])?.stdout, b"first\nlast\n", "of one that has ended");
    Ok(())
}

fn follow_shows_what_comes(host: &Host) -> Result<()> {
    let container =
        host.shared()?.start(&[], &["sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done"])?;
    let mut following = container.hull("logs", &["-f", "--tail", "1"]).spawn()?;
    for _ in 0..3 {
        following.wait_for("line ")?;
        following.wait_for("\n")?;
    }
    container.does("rm", &["-f"])?;
    following.finish()?.ok()?;
    Ok(())
}

fn tail(host: &Host) -> Result<()> {
    let container = host.shared()?.start(&[], &["sh", "-c", "seq 100; printf 'no end'"])?;
    container.wait()?;
    assert_eq!(container.does("logs", &["--tail", "3"])?.stdout, b"99\n100\nno end");
    assert_eq!(container.does("logs", &["-n", "1"])?.stdout, b"no end");
    assert_eq!(container.does("logs", &["--tail", "0"])?.stdout, b"");
    assert_eq!(container.does("logs", &["--tail", "all"])?.lines().len(), 101);
    assert_eq!(container.does("logs", &["--tail", "1000"])?.lines().len(), 101);
    Ok(())
}

fn timestamps_and_since(host: &Host) -> Result<()> {
    let container = host.shared()?.start(&[], &["sh", "-c", "echo early; sleep 1.2; echo late"])?;
    container.wait()?;
    let lines = container.does("logs", &["-t"])?.lines();
    let parsed = lines.iter().map(|line| line.split_once(' ').with_context(|| line.clone()));
    let parsed = parsed.collect::<Result<Vec<_>>>()?;
    assert_eq!(parsed.iter().map(|(_, text)| *text).collect::<Vec<_>>(), ["early", "late"]);
    let (first, second) = (parsed[0].0, parsed[1].0);
    // RFC 3339 with nanoseconds sorts as text.
    ensure!(first.len() == 30 && first.ends_with('Z') && first < second, "{lines:?}");
    assert_eq!(container.does("logs", &["--since", second])?.out(), "late");
    assert_eq!(container.does("logs", &["--since", "2001-02-03T04:05:06Z"])?.lines().len(), 2);
    assert_eq!(container.does("logs", &["--since", "10m"])?.lines().len(), 2);
    assert_eq!(container.does("logs", &["--since", "2100-01-01"])?.out(), "");
    Ok(())
}

fn kept_across_a_restart(host: &Host) -> Result<()> {
    let container = host.shared()?.create(&[], &["echo", "again"])?;
    for _ in 0..2 {
        container.hull("start", &["-a"]).output()?.ok()?;
    }
    assert_eq!(container.does("logs", &[])?.out(), "again\nagain");
    Ok(())
}

fn partial_lines_and_binary(host: &Host) -> Result<()> {
    let script =
        r"printf 'part'; sleep 0.2; printf 'ial\n\0\377\r\n'; head -c 100000 /dev/zero | tr '\0' x; printf 'end'";
    let container = host.shared()?.start(&[], &["sh", "-c", script])?;
    container.wait()?;
    let expected = [b"partial\n\0\xff\r\n", &[b'x'; 100_000][..], b"end"].concat();
    ensure!(container.does("logs", &[])?.stdout == expected);
    let stamped = container.does("logs", &["-t"])?;
    assert_eq!(stamped.stdout.split(|byte| *byte == b'\n').count(), 3, "one stamp a line, however it came");
    ensure!(String::from_utf8_lossy(&stamped.stdout).contains("Z partial\n"));
    Ok(())
}

fn of_a_terminal(host: &Host) -> Result<()> {
    let container = host.shared()?.start(&["-t"], &["sh", "-c", "echo out; echo err >&2"])?;
    container.wait()?;
    assert_eq!(container.does("logs", &[])?.stdout, b"out\r\nerr\r\n");
    Ok(())
}

fn errors(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    vm.hull(["logs", "nosuchcontainer"]).output()?.refused(1, &["no such container", "nosuchcontainer"])?;
    let container = vm.create(&[], &["true"])?;
    assert_eq!(container.does("logs", &["-f"])?.out(), "", "nothing to follow yet ends at once");
    container.hull("logs", &["--since", "yesterdayish"]).output()?.failed(&["yesterdayish"])?;
    container.hull("logs", &["--tail", "few"]).output()?.failed(&["few"])?;
    Ok(())
}
