//! What the tests run on: an image, a writable layer's template, a hierarchy of control groups.
//!
//! On an ordinary machine they are made here, with busybox, mkfs.erofs and mke2fs. Inside a guest, which has none of these,
//! `HULL_AGENT_TEST_ASSETS` names a directory with `rootfs.erofs` and `data.ext4`; if `HULL_AGENT_TEST_WINDOWS` is set too, the
//! disks `vda` (the image at 1 MiB) and `vdb` are the windows.

use crate::runner::Need;
use hull_protocol::agent::Extent;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: u64 = 1 << 20;
/// Size of a writable layer.
const DATA_SIZE: u64 = 64 * MIB;

#[derive(Debug, Clone)]
pub(crate) struct Assets {
    pub(crate) directory: PathBuf,
    pub(crate) cgroups: PathBuf,
    pub(crate) windows: bool,
}

/// The writable layers that were handed out.
static SLOTS: AtomicU64 = AtomicU64::new(0);

impl Assets {
    pub(crate) fn find() -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("they need root".to_owned());
        }
        for kind in ["overlay", "erofs", "ext4"] {
            if !known_to_the_kernel(kind) {
                return Err(format!("the kernel has no {kind}"));
            }
        }
        let windows = std::env::var_os("HULL_AGENT_TEST_WINDOWS").is_some();
        let directory = match std::env::var_os("HULL_AGENT_TEST_ASSETS") {
            Some(directory) => PathBuf::from(directory),
            None => make()?,
        };
        Ok(Self { directory, cgroups: cgroups()?, windows })
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join("rootfs.erofs")
    }

    pub(crate) fn image_extent(&self) -> Extent {
        Extent { offset: MIB, length: fs::metadata(self.image()).unwrap().len().next_multiple_of(4096) }
    }

    /// Removes what was made for the tests.
    pub(crate) fn clean_up(&self) {
        for group in fs::read_dir(&self.cgroups).into_iter().flatten().flatten().map(|entry| entry.path()) {
            // Those of containers that a test left to the end of their VM.
            let _file = fs::remove_dir(group);
        }
        let _in_use = fs::remove_dir(&self.cgroups);
        if std::env::var_os("HULL_AGENT_TEST_ASSETS").is_none() {
            self.detach_loops();
            let _in_use = fs::remove_dir_all(&self.directory);
        }
    }

    /// The devices of containers that a test left to the end of their VM.
    fn detach_loops(&self) {
        let listed = Command::new("losetup").args(["--list", "--noheadings", "--output", "NAME,BACK-FILE"]).output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let fields = listed.lines().filter_map(|line| line.split_once(char::is_whitespace));
        for (name, _) in fields.filter(|(_, file)| Path::new(file.trim()).starts_with(&self.directory)) {
            let _gone = Command::new("losetup").arg("--detach").arg(name).status();
        }
    }

    /// The file that stands for a window, where there is no real one.
    pub(crate) fn data_file(&self, extent: &Extent) -> PathBuf {
        self.directory.join(format!("data-{}", extent.offset))
    }

    /// An empty writable layer.
    pub(crate) fn new_data(&self) -> Extent {
        let slot = SLOTS.fetch_add(1, Ordering::Relaxed);
        let extent = Extent { offset: MIB + slot * DATA_SIZE, length: DATA_SIZE };
        let template = File::open(self.directory.join("data.ext4")).unwrap();
        let (disk, start) = match self.windows {
            true => (File::options().write(true).open("/dev/vdb").unwrap(), extent.offset),
            false => {
                let file = File::create(self.data_file(&extent)).unwrap();
                file.set_len(MIB + DATA_SIZE).unwrap();
                (file, MIB)
            }
        };
        copy_blocks(&template, &disk, start);
        disk.sync_all().unwrap();
        extent
    }

    pub(crate) fn lacks(&self, need: Need) -> Option<String> {
        match need {
            Need::Controller(name) => {
                let present = fs::read_to_string(self.cgroups.join("cgroup.controllers")).unwrap_or_default();
                let lacking = !present.split_ascii_whitespace().any(|one| one == name);
                lacking.then(|| format!("no {name} controller in version 2 of control groups"))
            }
            Need::DeviceRules => {
                let lacking = hull_agent::cgroup::DeviceProgram::load(&crate::spec::device_rules()).is_err();
                lacking.then(|| "no BPF programs for devices".to_owned())
            }
            Need::UserNamespaces => {
                let lacking = !Path::new("/proc/self/ns/user").exists();
                lacking.then(|| "no user namespaces".to_owned())
            }
        }
    }
}

/// Everything but zeros, which is most of it.
fn copy_blocks(template: &File, disk: &File, start: u64) {
    let zeros = [0; 64 << 10];
    let mut block = zeros;
    for at in (0..DATA_SIZE).step_by(block.len()) {
        template.read_exact_at(&mut block, at).unwrap();
        if block != zeros {
            disk.write_all_at(&block, start + at).unwrap();
        }
    }
}

fn known_to_the_kernel(kind: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.split_ascii_whitespace().next_back() == Some(kind))
}

/// A group of the tests' own, with all controllers that can be had, to be the root of a hierarchy.
fn cgroups() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mount =
        mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields.get(2) == Some(&"cgroup2"));
    let root = mount.and_then(|fields| fields.get(1).map(PathBuf::from));
    let root = root.ok_or("version 2 of control groups is not mounted")?;
    for controller in ["cpu", "memory", "pids", "io", "cpuset"] {
        let _absent = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    let group = root.join(format!("hull-agent-test-{}", std::process::id()));
    fs::create_dir_all(&group).map_err(|error| format!("cannot make {}: {error}", group.display()))?;
    Ok(group)
}

fn make() -> Result<PathBuf, String> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.ok_or("there is no busybox (Debian: busybox-static)")?;
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("agent-{}", std::process::id()));
    let tree = directory.join("tree");
    make_tree(&tree, Path::new(busybox)).map_err(|error| format!("cannot make an image: {error}"))?;
    run(Command::new("mkfs.erofs").arg(directory.join("rootfs.erofs")).arg(&tree))?;
    make_window(&directory).map_err(|error| format!("cannot make an image: {error}"))?;
    let data = directory.join("data.ext4");
    File::create(&data).and_then(|file| file.set_len(DATA_SIZE)).map_err(|error| error.to_string())?;
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-m", "0", "-J", "size=4"]).arg(&data))?;
    Ok(directory)
}

/// The image behind a MiB of nothing, as in the window.
fn make_window(directory: &Path) -> std::io::Result<()> {
    let image = fs::read(directory.join("rootfs.erofs"))?;
    let window = File::create(directory.join("images"))?;
    window.write_all_at(&image, MIB)?;
    window.set_len(MIB + (image.len() as u64).next_multiple_of(4096))
}

fn run(command: &mut Command) -> Result<(), String> {
    let outcome = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    match outcome {
        Ok(status) if status.success() => Ok(()),
        outcome => Err(format!("{command:?} failed: {outcome:?}")),
    }
}

fn make_tree(tree: &Path, busybox: &Path) -> std::io::Result<()> {
    for directory in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "home/www", "opt/sub"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::set_permissions(tree.join("root"), fs::Permissions::from_mode(0o700))?;
    fs::copy(busybox, tree.join("bin/busybox"))?;
    let applets = Command::new(busybox).arg("--list").output()?;
    for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", tree.join("bin").join(applet))?;
    }
    fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/home/www:/bin/sh\n")?;
    fs::write(tree.join("etc/group"), "root:x:0:\nwww:x:33:\nextra:x:44:www\ntty:x:5:\n")?;
    let executable = fs::Permissions::from_mode(0o755);
    for (name, content) in [("data", "just data"), ("orphan-script", "#!/no/such/interpreter\n")] {
        fs::write(tree.join("opt").join(name), content)?;
        fs::set_permissions(tree.join("opt").join(name), executable.clone())?;
    }
    fs::write(tree.join("opt/plain"), "not executable")?;
    fs::write(tree.join("opt/secret"), "#!/bin/sh\necho not for you\n")?;
    fs::set_permissions(tree.join("opt/secret"), fs::Permissions::from_mode(0o700))?;
    fs::set_permissions(tree, fs::Permissions::from_mode(0o751))
}
