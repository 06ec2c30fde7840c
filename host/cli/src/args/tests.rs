use super::*;

fn parse_words(words: &[&str]) -> Result<Option<Command>, Failure> {
    parse(words.iter().map(Into::into).collect())
}

fn accepted(words: &[&str]) -> String {
    match parse_words(words) {
        Ok(Some(command)) => format!("{command:?}"),
        other => panic!("{words:?}: {other:?}"),
    }
}

fn refused(words: &[&str]) -> String {
    match parse_words(words) {
        Err(Failure { code: 125, message: Some(message) }) => message,
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn grammar_is_sound() {
    grammar().debug_assert();
    with_boolean_values(grammar()).debug_assert();
}

#[test]
fn options_end_at_the_image() {
    let run = accepted(&["run", "-it", "--rm", "-e", "A=1", "hull/busybox", "ls", "-it", "--rm", "--bogus"]);
    assert!(run.contains(r#"words: ["hull/busybox", "ls", "-it", "--rm", "--bogus"]"#), "{run}");
    assert!(run.contains("interactive: true") && run.contains("tty: true") && run.contains("rm: true"), "{run}");
    let exec = accepted(&["exec", "-it", "web", "sh", "-c", "exit 3"]);
    assert!(exec.contains(r#"words: ["web", "sh", "-c", "exit 3"]"#), "{exec}");
}

#[test]
fn flags_may_be_set_to_true_and_false() {
    let run = accepted(&["run", "--rm=false", "-i=true", "--sig-proxy=false", "-dt", "hull/busybox", "--x=true"]);
    for part in ["rm: false", "interactive: true", "sig_proxy: false", "detach: true", "tty: true", r#""--x=true""#] {
        assert!(run.contains(part), "{part}: {run}");
    }
}

#[test]
fn short_h_is_the_host_name() {
    assert!(accepted(&["run", "-h", "web", "hull/busybox"]).contains(r#"hostname: Some("web")"#));
    for words in [["hull", "run", "--help"], ["hull", "ps", "-h"]] {
        assert_eq!(grammar().try_get_matches_from(words).unwrap_err().kind(), ErrorKind::DisplayHelp);
    }
}

#[test]
fn mistakes_are_one_line_and_where_to_look() {
    let cases: [(&[&str], &str, &str); 10] = [
        (&["run", "--bogus", "hull/busybox"], "'--bogus'", "See 'hull run --help'."),
        (&["run"], "IMAGE", "See 'hull run --help'."),
        (&["exec", "web"], "COMMAND", "See 'hull exec --help'."),
        (&["run", "--memory", "lots", "hull/busybox"], "invalid size: 'lots'", "hull run"),
        (&["run", "--ulimit", "nofile", "hull/busybox"], "NAME=SOFT", "hull run"),
        (&["run", "--stop-signal", "SIGNOPE", "hull/busybox"], "invalid signal", "hull run"),
        (&["run", "--vm-cpus", "0", "hull/busybox"], "--vm-cpus", "hull run"),
        (&["bogus"], "'bogus'", "See 'hull --help'."),
        (&["vm", "bogus"], "'bogus'", "See 'hull vm --help'."),
        (&["stop"], "CONTAINER", "See 'hull stop --help'."),
    ];
    for (words, part, hint) in cases {
        let message = refused(words);
        assert!(
            message.contains(part) && message.contains(hint) && message.lines().count() == 2,
            "{words:?}: {message}"
        );
    }
}

#[test]
fn every_flag_of_docker_that_hull_has_is_taken() {
    let flags = [
        "-i",
        "-t",
        "--rm",
        "--name",
        "web",
        "-e",
        "A=1",
        "--env-file",
        "/dev/null",
        "-w",
        "/srv",
        "-u",
        "1000:1000",
        "-h",
        "web",
        "--entrypoint",
        "/bin/sh",
        "--read-only",
        "--tmpfs",
        "/run:size=1m",
        "--cap-add",
        "SYS_ADMIN",
        "--cap-drop",
        "ALL",
        "--privileged",
        "--ulimit",
        "nofile=1024:2048",
        "--memory",
        "64m",
        "--cpus",
        "1.5",
        "--pids-limit",
        "-1",
        "--init",
        "--stop-signal",
        "SIGQUIT",
        "--stop-timeout",
        "-1",
        "--vm",
        "dev",
        "--vm-memory",
        "512m",
        "--vm-cpus",
        "2",
        "--backend",
        "qemu",
        "--kernel",
        "/boot/vmlinuz",
        "-l",
        "a=b",
        "--userns",
        "private",
        "--vm-idle-timeout",
        "10m",
        "--detach-keys",
        "ctrl-a",
    ];
    let words = |command| [&[command][..], &flags, &["hull/busybox"]].concat();
    accepted(&words("run"));
    let without_keys: Vec<_> =
        words("create").into_iter().filter(|word| *word != "--detach-keys" && *word != "ctrl-a").collect();
    accepted(&without_keys);
}
