//! Whether /dev/kvm is there and may be opened, and what to do about it if not.

use crate::Unusable;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

/// Opens the device once.
pub fn check(device: &Path) -> Result<(), Unusable> {
    match OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(device, &error, cpu_flag())),
    }
}

/// What an error at opening the device means.
fn explain(device: &Path, error: &io::Error, cpu: Option<CpuFlag>) -> Unusable {
    let device = device.display();
    match error.kind() {
        ErrorKind::PermissionDenied => Unusable {
            reason: format!("{device} is there, but this user may not open it"),
            remedy: Some(
                "add the user to the group that owns it, usually with `sudo usermod -aG kvm $USER`, and log in again"
                    .into(),
            ),
        },
        // The second: a device node whose module is not loaded.
        ErrorKind::NotFound => absent(format!("there is no {device}"), cpu),
        _ if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO)) => {
            absent(format!("{device} is there, but no driver answers"), cpu)
        }
        _ => Unusable { reason: format!("{device} cannot be opened ({error})"), remedy: None },
    }
}

fn absent(reason: String, cpu: Option<CpuFlag>) -> Unusable {
    let remedy = match cpu {
        Some(CpuFlag::Svm) => "load the driver with `sudo modprobe kvm_amd` (in a container: pass the device in)",
        Some(CpuFlag::Vmx) => "load the driver with `sudo modprobe kvm_intel` (in a container: pass the device in)",
        None => {
            "this CPU offers no virtualization: switch it on in the firmware, or, if this is a virtual machine \
             itself, switch on nested virtualization for it"
        }
    };
    Unusable { reason, remedy: Some(remedy.into()) }
}

/// The virtualization extension of the host's CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CpuFlag {
    /// AMD's.
    Svm,
    /// Intel's.
    Vmx,
}

fn cpu_flag() -> Option<CpuFlag> {
    // The first CPU's entry is enough, and the whole file is slow to read on a host with hundreds.
    let mut start = String::new();
    File::open("/proc/cpuinfo").ok()?.take(8192).read_to_string(&mut start).ok()?;
    find_flag(&start)
}

fn find_flag(cpuinfo: &str) -> Option<CpuFlag> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    flags.split_whitespace().find_map(|flag| match flag {
        "svm" => Some(CpuFlag::Svm),
        "vmx" => Some(CpuFlag::Vmx),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(errno: i32, cpu: Option<CpuFlag>) -> Unusable {
        explain(Path::new("/dev/kvm"), &io::Error::from_raw_os_error(errno), cpu)
    }

    #[test]
    fn no_permission_names_the_group() {
        let why = explained(13, Some(CpuFlag::Svm));
        assert_eq!(why.reason, "/dev/kvm is there, but this user may not open it");
        assert!(why.remedy.unwrap().contains("usermod -aG kvm"));
    }

    #[test]
    fn no_device_names_what_is_missing() {
        let with = |cpu| explained(2, cpu).remedy.unwrap();
        assert_eq!(explained(2, None).reason, "there is no /dev/kvm");
        assert!(with(Some(CpuFlag::Svm)).contains("kvm_amd"));
        assert!(with(Some(CpuFlag::Vmx)).contains("kvm_intel"));
        assert!(with(None).contains("nested"));
        assert!(explained(19, None).reason.contains("no driver"));
    }

    #[test]
    fn other_errors_are_passed_on() {
        let why = explained(24, None);
        assert!(why.reason.contains("Too many open files"), "{why}");
    }

    #[test]
    fn a_missing_file_is_found_out() {
        assert!(check(Path::new("/nonexistent/kvm")).unwrap_err().reason.contains("/nonexistent/kvm"));
    }

    #[test]
    fn the_flag_is_a_whole_word() {
        assert_eq!(find_flag("processor : 0\nflags\t\t: fpu svm_lock vmx\n"), Some(CpuFlag::Vmx));
        assert_eq!(find_flag("processor : 0\nflags\t\t: fpu svm\n"), Some(CpuFlag::Svm));
        assert_eq!(find_flag("flags : fpu\n"), None);
        assert_eq!(find_flag(""), None);
    }
}
