//! What cannot be started, why, and that nothing is left of the attempt.

use super::test;
use crate::assets::Assets;
use crate::host::Vm;
use crate::runner::Test;
use crate::spec::{Document, exec, reference};
use hull_protocol::agent::{ErrorCode, Extent, Request, RootDisk};
use serde_json::json;
use std::fs;

pub(super) const TESTS: &[Test] = &[
    test("commands that cannot be executed", &[], commands),
    test("commands that cannot be executed in a running container", &[], further_commands),
    test("roots that cannot be mounted", &[], roots),
    test("documents and names that make no sense", &[], documents),
];

/// Command, code, and a word of the message.
const COMMANDS: [(&[&str], ErrorCode, &str); 8] = [
    (&["nothing"], ErrorCode::CommandNotFound, "PATH"),
    (&["/bin/nothing"], ErrorCode::CommandNotFound, "does not exist"),
    (&["/opt/data/below"], ErrorCode::CommandNotFound, "does not exist"),
    (&["/opt/orphan-script"], ErrorCode::CommandNotFound, "interpreter"),
    (&["/opt/plain"], ErrorCode::CommandNotExecutable, "Permission denied"),
    (&["/opt/data"], ErrorCode::CommandNotExecutable, "not a program"),
    (&["/opt"], ErrorCode::CommandNotExecutable, "directory"),
    (&[""], ErrorCode::CommandNotFound, "PATH"),
];

fn commands(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let before = groups(assets);
    let mut options = vm.options();
    for (command, code, word) in COMMANDS {
        let error = vm.try_start(&options, Document::new(command)).unwrap_err();
        assert!(error.code == code && error.message.contains(word), "{command:?}: {error:?}");
        assert!(!error.message.contains(options.container.as_str()), "{error}");
    }
    options.user = "nobody".to_owned();
    let error = vm.try_start(&options, Document::new(&["true"])).unwrap_err();
    assert_eq!(error.code, ErrorCode::UnknownUser);
    options.user = "www".to_owned();
    let error = vm.try_start(&options, Document::new(&["/opt/secret"])).unwrap_err();
    assert_eq!(error.code, ErrorCode::CommandNotExecutable, "root's capabilities are gone when the program is opened");
    options.user = String::new();
    let document = Document::new(&["true"]).with("/process/cwd", json!("/opt/plain"));
    let error = vm.try_start(&options, document).unwrap_err();
    assert!(error.code == ErrorCode::CommandNotExecutable && error.message.contains("/opt/plain"), "{error:?}");
    // The container's name and disks are free after each failure.
    assert_eq!(vm.run(&options, Document::new(&["true"])).code, 0);
    assert_eq!(groups(assets), before);
}

/// How many control groups there are: some are left where a test let a VM end.
pub(super) fn groups(assets: &Assets) -> usize {
    fs::read_dir(&assets.cgroups).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
}

fn further_commands(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let container = &options.container;
    assert_eq!(vm.try_exec(container, exec(&["true"]), "").unwrap_err().code, ErrorCode::NotFound);
    let _running = vm.start(&options, Document::new(&["sleep", "1000"]));
    for (command, code, word) in COMMANDS {
        let error = vm.try_exec(container, exec(command), "").unwrap_err();
        assert!(error.code == code && error.message.contains(word), "{command:?}: {error:?}");
    }
    assert_eq!(vm.try_exec(container, exec(&["true"]), "nobody").unwrap_err().code, ErrorCode::UnknownUser);
    let mut elsewhere = exec(&["true"]);
    elsewhere.set_cwd("/absent".into());
    let error = vm.try_exec(container, elsewhere, "").unwrap_err();
    assert!(error.code == ErrorCode::CommandNotExecutable && error.message.contains("/absent"), "{error:?}");
    vm.kill_and_remove(&options.container);
}

fn roots(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let good = vm.options();
    for (image, data) in [
        (Extent { offset: 0, length: 4096 }, good.root.data),
        (good.root.image, Extent { length: 4096, ..good.root.data }),
        (good.root.image, Extent { length: 1000, ..good.root.data }),
    ] {
        let mut options = vm.options();
        let container = options.container.clone();
        options.root = RootDisk { image, data };
        let error = vm.try_start(&options, Document::new(&["true"])).unwrap_err();
        assert!(error.message.contains("layer") || error.message.contains("blocks"), "{error:?}");
        assert_eq!(vm.call(Request::Remove(reference(&container))).unwrap_err().code, ErrorCode::NotFound);
    }
    assert_eq!(vm.run(&good, Document::new(&["true"])).code, 0);
}

fn documents(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let no_process = Document::new(&["true"]).with("/process", json!(null));
    assert_eq!(vm.try_start(&options, no_process).unwrap_err().code, ErrorCode::Invalid);
    let _running = vm.start(&options, Document::new(&["sleep", "1000"]));
    assert_eq!(vm.try_start(&options, Document::new(&["true"])).unwrap_err().code, ErrorCode::AlreadyExists);
    let other = vm.options();
    for request in [
        Request::Usage(reference(&other.container)),
        Request::Processes(reference(&other.container)),
        Request::Remove(reference(&other.container)),
    ] {
        assert_eq!(vm.call(request).unwrap_err().code, ErrorCode::NotFound);
    }
    let wrong = json!([{ "destination": "/x", "type": "tmpfs", "options": ["nonsense=1"] }]);
    let error = vm.try_start(&other, Document::new(&["true"]).with("/mounts", wrong)).unwrap_err();
    assert!(error.message.contains("nonsense"), "{error:?}");
    vm.kill_and_remove(&options.container);
}
