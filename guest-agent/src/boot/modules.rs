//! Kernel modules, for a kernel that has hull's needs as modules: Debian's stock one. Its initramfs holds them,
//! decompressed, and a list in the order of their dependencies. hull's own kernel has neither.

use crate::fatal;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::fs::{self, File};
use std::path::Path;

const DIRECTORY: &str = "/modules";
const ORDER: &str = "/modules/order";

/// Loads what is listed. One that fails may be one that nobody needs, so the boot goes on and the console tells.
pub(super) fn load() {
    let Ok(order) = fs::read_to_string(ORDER) else { return };
    for name in order.lines().map(str::trim).filter(|name| !name.is_empty()) {
        if let Err(error) = load_one(&Path::new(DIRECTORY).join(name)) {
            fatal::write_to_console(&format!("cannot load the module {name}: {}", error.desc()));
        }
    }
}

fn load_one(path: &Path) -> nix::Result<()> {
    let file = File::open(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    match finit_module(&file, c"", ModuleInitFlags::empty()) {
        // It is built in, or was loaded already.
        Err(Errno::EEXIST) => Ok(()),
        loaded => loaded,
    }
}
