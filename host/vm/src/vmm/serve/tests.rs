//! Orders to a vmm whose machine is never launched: mapping and expecting need none.

use super::*;
use crate::control::Disk;
use hull_machine::plan::{Discovery, KernelImage};
use hull_protocol::Port;
use hull_protocol::agent::Extent;
use std::fs::File;
use std::num::NonZeroU8;

struct Bench {
    control: LocalStream,
    vmm: std::thread::JoinHandle<ExitCode>,
}

impl Bench {
    fn new() -> Self {
        let (control, there) = LocalStream::pair().unwrap();
        let jail = Jail { layers: vec!["seccomp"] };
        let vmm = std::thread::spawn(move || serve(there, &jail));
        let (first, _) = control::receive::<Report>(&control).unwrap().unwrap();
        assert_eq!(first, Report::Confined(vec!["seccomp".to_owned()]));
        Self { control, vmm }
    }

    fn order(&self, order: &Order, handles: &[&Handle]) -> Result<(), String> {
        control::send(&self.control, order, handles).unwrap();
        match control::receive(&self.control).unwrap().unwrap() {
            (Report::Answer(result), handles) if handles.is_empty() => result,
            (other, _) => panic!("{other:?}"),
        }
    }
}

fn file(length: u64) -> Handle {
    let file = tempfile::tempfile().unwrap();
    file.set_len(length).unwrap();
    file.into()
}

fn extent(offset: u64, length: u64) -> Extent {
    Extent { offset, length }
}

#[test]
fn files_are_mapped_and_unmapped() {
    let bench = Bench::new();
    let map = |disk, extent| Order::Map { disk, extent };
    for disk in [Disk::Images, Disk::Data] {
        assert_eq!(bench.order(&map(disk, extent(1 << 20, 8192)), &[&file(8192)]), Ok(()));
        let overlap = bench.order(&map(disk, extent(1 << 20, 4096)), &[&file(8192)]);
        assert!(overlap.unwrap_err().contains("overlaps"));
        assert_eq!(bench.order(&Order::Unmap { disk, extent: extent(1 << 20, 8192) }, &[]), Ok(()));
        assert!(bench.order(&Order::Unmap { disk, extent: extent(1 << 20, 8192) }, &[]).is_err());
    }
    assert!(
        bench.order(&map(Disk::Data, extent(u64::MAX - 4095, 8192)), &[&file(8192)]).unwrap_err().contains("overflows")
    );
    assert!(bench.order(&map(Disk::Data, extent(1 << 20, 8192)), &[&file(4096)]).is_err(), "the file is too short");
}

#[test]
fn orders_without_their_handles_are_refused_and_the_next_are_served() {
    let bench = Bench::new();
    let map = Order::Map { disk: Disk::Data, extent: extent(1 << 20, 4096) };
    assert_eq!(bench.order(&map, &[]).unwrap_err(), "0 handles came with an order that takes 1");
    let two = file(4096);
    assert_eq!(bench.order(&map, &[&two, &two]).unwrap_err(), "2 handles came with an order that takes 1");
    assert_eq!(bench.order(&map, &[&two]), Ok(()));
}

#[test]
fn connections_are_expected_once() {
    let bench = Bench::new();
    let (_here, there) = LocalStream::pair().unwrap();
    let there = Handle::from(there);
    let expect = Order::Expect { port: Port(70_000) };
    assert_eq!(bench.order(&expect, &[&there]), Ok(()));
    assert!(bench.order(&expect, &[&there]).is_err());
    for _ in 0..2 {
        assert_eq!(bench.order(&Order::Cancel { port: Port(70_000) }, &[]), Ok(()));
    }
    assert_eq!(bench.order(&expect, &[&there]), Ok(()));
}

#[test]
fn an_unknown_backend_is_named_and_the_end_of_the_control_socket_is_the_end() {
    let bench = Bench::new();
    let kernel = KernelImage { path: "/k".into(), discovery: Discovery::CommandLine };
    let plan = MachinePlan { vcpus: NonZeroU8::MIN, memory_mib: 64, kernel, initramfs: "/i".into() };
    let launch = Order::Launch { plan, backend: "abacus".into() };
    assert_eq!(bench.order(&launch, &[]).unwrap_err(), "there is no backend \"abacus\"");
    let Bench { control, vmm } = bench;
    drop(control);
    assert_eq!(format!("{:?}", vmm.join().unwrap()), format!("{:?}", ExitCode::SUCCESS));
}

#[test]
fn a_file_that_was_mapped_is_closed_when_it_is_unmapped() {
    let bench = Bench::new();
    let path = tempfile::NamedTempFile::new().unwrap();
    path.as_file().set_len(4096).unwrap();
    let order = Order::Map { disk: Disk::Images, extent: extent(1 << 20, 4096) };
    bench.order(&order, &[&File::open(path.path()).unwrap().into()]).unwrap();
    let open = || {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        fds.filter(|fd| std::fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|to| to == path.path())).count()
    };
    let before = open();
    bench.order(&Order::Unmap { disk: Disk::Images, extent: extent(1 << 20, 4096) }, &[]).unwrap();
    assert_eq!(open(), before - 1);
}
