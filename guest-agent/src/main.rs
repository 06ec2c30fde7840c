//! `hull-agent`, PID 1 of a hull guest. A static program: the initramfs holds nothing else.

#[cfg(target_os = "linux")]
fn main() {
    hull_agent::boot::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("hull-agent runs in hull's Linux guests only");
    std::process::exit(1);
}
