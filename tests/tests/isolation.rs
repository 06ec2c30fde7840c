//! What a container can see and do: no more than in Docker, seen from inside.

use anyhow::{Result, ensure};
use hull_tests::host::Host;
use hull_tests::tests;

tests![
    processes_are_its_own,
    root_is_an_overlay_and_the_old_root_is_gone,
    proc_and_sys_are_masked_and_read_only,
    devices_are_the_default_ones,
    disks_of_the_vm_are_out_of_reach,
    mounting_and_rebooting_are_refused,
    cgroup_is_its_own_and_read_only,
    network_is_loopback_alone,
    descriptors_of_the_agent_are_closed,
    privileges_by_file,
    clock_is_the_hosts,
    random_is_there,
];

fn processes_are_its_own(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let _neighbour = vm.idle(&[])?;
    assert_eq!(vm.sh(&[], "echo $$; set -- /proc/[0-9]*; echo $*")?, "1\n/proc/1");
    Ok(())
}

fn root_is_an_overlay_and_the_old_root_is_gone(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    assert_eq!(vm.sh(&[], "awk '$2 == \"/\" { print $3 }' /proc/mounts")?, "overlay");
    let mounts = vm.sh(&[], "cut -d' ' -f5,9- /proc/self/mountinfo")?;
    for mount in ["erofs", "ext4", "initramfs", "rootfs "] {
        ensure!(!mounts.contains(mount), "{mount} is to be seen in\n{mounts}");
    }
    let listing = vm.sh(&[], "ls -A / | tr '\\n' ' '")?;
    for entry in ["init", "initramfs", "modules", "run/hull"] {
        ensure!(!listing.split(' ').any(|found| found == entry), "{entry} of the VM is to be seen in {listing}");
    }
    Ok(())
}

fn proc_and_sys_are_masked_and_read_only(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"] {
        let script = format!("[ ! -e {path} ] || [ \"$(head -c 1 {path} | wc -c)\" = 0 ]");
        vm.sh(&[], &script).map_err(|error| error.context(format!("{path} is not masked")))?;
    }
    for path in ["/proc/sys/kernel/hostname", "/proc/irq/0/smp_affinity", "/sys/kernel/mm/transparent_hugepage/enabled"]
    {
        let finished = vm.run(&[], &["sh", "-c", &format!("echo x > {path}")])?.code(1)?;
        ensure!(finished.err().contains("Read-only file system"), "{}", finished.describe());
    }
    // A mask cannot be taken away.
    vm.run(&[], &["umount", "/proc/kcore"])?.code(1)?;
    vm.run(&[], &["mount", "-o", "remount,rw", "/sys"])?.code(1)?;
    Ok(())
}

fn devices_are_the_default_ones(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let expected = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert_eq!(vm.sh(&[], "echo $(ls /dev)")?, expected);
    assert_eq!(vm.sh(&["-t"], "echo $(ls /dev)")?, format!("console {expected}"));
    let script = "echo lost > /dev/null; head -c 3 /dev/zero | od -An -tx1; head -c 8 /dev/urandom | wc -c
        echo x 2>/dev/null > /dev/full || echo full; readlink /dev/fd; stat -c '%a %t:%T' /dev/null";
    assert_eq!(vm.sh(&["-u", "33"], script)?, " 00 00 00\n8\nfull\n/proc/self/fd\n666 1:3");
    Ok(())
}

fn disks_of_the_vm_are_out_of_reach(host: &Host) -> Result<()> {
    // Root in a container may make a device file, but none that opens: a disk holds the neighbours' files.
    let vm = host.shared()?;
    let script =
        "for n in $( (sed 1,2d /proc/partitions | awk '{ print $1 \":\" $2 }'; echo 254:0 253:0 252:0 1:1 10:237) | tr ' ' '\\n' | sort -u); do
            mknod /tmp/d$n b ${n%:*} ${n#*:} || exit 8; mknod /tmp/c$n c ${n%:*} ${n#*:} || exit 8
            for d in /tmp/d$n /tmp/c$n; do head -c 1 $d > /dev/null 2>&1 && echo $d opens; done
        done; true";
    assert_eq!(vm.sh(&[], script)?, "");
    Ok(())
}

fn mounting_and_rebooting_are_refused(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let neighbour = vm.idle(&[])?;
    let refused = [
        "mount -t tmpfs tmpfs /mnt",
        "mount -t proc proc /tmp",
        "reboot -f",
        "poweroff -f",
        "date -s 2001-01-01",
        "hostname other",
        "ip link add dummy0 type dummy",
        "unshare -m true",
        "chroot / mount -t tmpfs t /tmp",
    ];
    for command in refused {
        let finished = vm.run(&[], &["sh", "-c", command])?;
        // Not every applet makes an exit status of it.
        let refused = finished.status.code() != Some(0) || finished.err().contains("not permitted");
        ensure!(refused, "`{command}` was let through\n{}", finished.describe());
    }
    assert_eq!(neighbour.sh("echo well")?, "well");
    Ok(())
}

fn cgroup_is_its_own_and_read_only(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    assert_eq!(vm.sh(&[], "cat /proc/self/cgroup; ls /sys/fs/cgroup | grep -c '^hull$'; true")?, "0::/\n0");
    let finished = vm.run(&["--pids-limit", "50"], &["sh", "-c", "echo max > /sys/fs/cgroup/pids.max"])?.code(1)?;
    ensure!(finished.err().contains("Read-only file system"), "{}", finished.describe());
    vm.run(&[], &["mkdir", "/sys/fs/cgroup/child"])?.code(1)?;
    Ok(())
}

fn network_is_loopback_alone(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    assert_eq!(vm.sh(&[], "ls /sys/class/net; ip -o addr | awk '{ print $4 }' | head -n 1")?, "lo\n127.0.0.1/8");
    let script = "(nc -l -p 7000 < /dev/null > /tmp/got) & until grep -q 1B58 /proc/net/tcp*; do sleep 0.05; done
        echo over | nc 127.0.0.1 7000; wait; cat /tmp/got";
    assert_eq!(vm.sh(&[], script)?, "over", "loopback is up");
    Ok(())
}

fn descriptors_of_the_agent_are_closed(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    // Three streams, and the directory that `ls` reads.
    assert_eq!(vm.sh(&[], "ls /proc/self/fd | wc -l")?, "4");
    let container = vm.idle(&[])?;
    assert_eq!(container.sh("ls /proc/self/fd | wc -l; ls /proc/1/fd | wc -l")?, "4\n3");
    Ok(())
}

fn privileges_by_file(host: &Host) -> Result<()> {
    // As Docker: set-user-ID works unless told otherwise.
    let script = "cp /bin/busybox /tmp/id && chmod 4755 /tmp/id && su -s /bin/sh www-data -c '/tmp/id id -u'";
    let finished =
        host.shared()?.run(&[], &["sh", "-c", &format!("{script}; grep NoNewPrivs /proc/self/status")])?.ok()?;
    ensure!(finished.out().ends_with("NoNewPrivs:\t0"), "{}", finished.describe());
    Ok(())
}

fn clock_is_the_hosts(host: &Host) -> Result<()> {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|time| time.as_secs());
    let before = now()?;
    let inside: u64 = host.shared()?.sh(&[], "date +%s")?.parse()?;
    let after = now()?;
    ensure!((before - 1..=after + 1).contains(&inside), "{inside} is not between {before} and {after}");
    Ok(())
}

fn random_is_there(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let draw = || vm.sh(&[], "head -c 16 /dev/random | od -An -tx1");
    ensure!(draw()? != draw()?);
    Ok(())
}
