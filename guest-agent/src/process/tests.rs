use super::*;

const PROCESS: &str = r#"{"user":{"uid":0,"gid":0,"additionalGids":[7]},"args":["sh","-c","true"],"env":["PATH=/bin","PATHX=1","HOME="],"cwd":"/"}"#;

fn plan(json: &str) -> Result<ProcessPlan> {
    ProcessPlan::new(serde_json::from_str(json).unwrap(), "")
}

#[test]
fn a_plan_is_what_the_document_says() {
    let plan = plan(PROCESS).unwrap();
    assert_eq!(plan.arguments, [c"sh", c"-c", c"true"].map(ToOwned::to_owned));
    assert_eq!(plan.additional_groups, [7]);
    assert_eq!(plan.umask, Mode::from_bits_truncate(0o022));
    assert_eq!(plan.variable("PATH"), Some(OsStr::new("/bin")));
    assert_eq!(plan.variable("PAT"), None);
    assert_eq!(plan.oom_score_adjustment, None);
}

#[test]
fn home_comes_from_the_image_unless_it_is_set() {
    let user = User { uid: 0, gid: 0, groups: Vec::new(), home: b"/root".to_vec() };
    let environment = plan(PROCESS).unwrap().environment_of(&user).unwrap();
    assert_eq!(environment, [c"PATH=/bin", c"PATHX=1", c"HOME=/root"].map(ToOwned::to_owned));
    let environment = plan(&PROCESS.replace("HOME=", "HOME=/x")).unwrap().environment_of(&user).unwrap();
    assert_eq!(environment.last().map(|entry| entry.as_bytes()), Some(b"HOME=/x".as_slice()));
}

#[test]
fn nonsense_is_refused_before_anything_is_started() {
    for (from, to, expected) in [
        (r#""args":["sh","-c","true"],"#, "", "no command"),
        (r#""cwd":"/""#, r#""cwd":"tmp""#, "not absolute"),
        ("true", r"tr\u0000ue", "zero byte"),
        ("PATHX=1", r"PATHX=\u0000", "zero byte"),
        (r#""cwd":"/""#, r#""cwd":"/","capabilities":{"bounding":["CAP_X"]}"#, "CAP_X"),
        (r#""cwd":"/""#, r#""cwd":"/","rlimits":[{"type":"RLIMIT_CPU","soft":2,"hard":1}]"#, "above"),
    ] {
        let error = plan(&PROCESS.replace(from, to)).unwrap_err();
        assert!(error.message.contains(expected), "{error}");
    }
}

#[test]
fn image_files_are_read_up_to_a_limit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    assert_eq!(read_image_file(&path, 10).unwrap(), None);
    fs::write(&path, "0123456789").unwrap();
    assert_eq!(read_image_file(&path, 10).unwrap().as_deref(), Some(b"0123456789".as_slice()));
    assert!(read_image_file(&path, 9).is_err());
    assert_eq!(read_image_file(&path.join("below"), 9).unwrap(), None);
}
