//! Settings of the VM's kernel that containers expect of their host and cannot change themselves.

use crate::container::bring_loopback_up;
use crate::fatal;
use std::fs::OpenOptions;
use std::io::Write;

/// Files and values.
const SETTINGS: [(&str, &str); 3] = [
    // Off in a small VM, whatever the configuration says; memory is huge where a program asks for it.
    ("/sys/kernel/mm/transparent_hugepage/enabled", "madvise"),
    // Data bases and search engines refuse to start with the kernel's own limit of mappings.
    ("/proc/sys/vm/max_map_count", "262144"),
    // Shared by all containers of a VM: each may run a few programs that watch files.
    ("/proc/sys/fs/inotify/max_user_instances", "1024"),
];

/// None of them is worth ending the boot for.
pub(super) fn apply() {
    for (path, value) in SETTINGS {
        let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(value.as_bytes()));
        // A kernel of the user's may be built without it.
        if let Err(error) =
            written.or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        {
            fatal::write_to_console(&format!("cannot write {value} to {path}: {error}"));
        }
    }
    if let Err(error) = bring_loopback_up() {
        fatal::write_to_console(&error.message);
    }
}
