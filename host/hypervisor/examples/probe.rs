//! Prints what the probe of this host's hypervisor says, and how long it took.

fn main() {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    {
        let begin = std::time::Instant::now();
        let answer = hull_hypervisor::kvm::probe();
        println!("{:?}: {answer:?}", begin.elapsed());
    }
}
