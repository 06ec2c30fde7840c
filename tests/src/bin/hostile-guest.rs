//! A guest that means harm: PID 1 of a VM whose initramfs a test made. It speaks the agent protocol as `/mode` says,
//! wrong in one way each, and then does nothing more.
//!
//! It shares no code with hull: what it sends is written down here, byte by byte.

use anyhow::{Context, Result, bail};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, VsockAddr, connect, socket};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The host, in vsock's addresses.
const HOST: u32 = 2;
const CONTROL: u32 = 1024;
const HELLO: &str = r#"{"version":1,"kernel":"hostile","uptime_ns":1}"#;

fn main() -> Result<()> {
    let mode = fs::read_to_string("/mode").context("no /mode")?;
    if let Err(error) = be(&mode) {
        println!("hostile {mode}: {error:#}");
    }
    // The host has to end this: PID 1 that returned would end the VM by itself.
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

fn be(mode: &str) -> Result<()> {
    match mode {
        "silent" => Ok(()),
        "mute" => hold(&dial(CONTROL)?),
        "ends-at-once" => end(),
        "oversized" => first(&u32::MAX.to_le_bytes()),
        "announces-a-mebibyte" => first(&[(1_u32 << 20).to_le_bytes().as_slice(), b"{"].concat()),
        "truncated" => first(&frame(HELLO)[..20]).and_then(|()| bail!("and gone")),
        "not-json" => first(&frame("hello")),
        "deep-json" => first(&frame(&"[".repeat(100_000))),
        "unknown-field" => first(&frame(r#"{"version":1,"kernel":"k","uptime_ns":1,"more":2}"#)),
        "wrong-version" => first(&frame(r#"{"version":999,"kernel":"k","uptime_ns":1}"#)),
        "endless-kernel-name" => {
            let name = "k\\n\\u001b".repeat(10_000);
            let mut control = dial(CONTROL)?;
            control.write_all(&frame(&format!(r#"{{"version":1,"kernel":"{name}","uptime_ns":1}}"#)))?;
            read(&mut control)?;
            end()
        }
        "hello-twice" => after_handshake(HELLO),
        "unknown-event" => after_handshake(r#"{"event":{"nosuch":{}}}"#),
        "answer-to-nothing" => after_handshake(r#"{"answer":{"id":12345,"result":{"Ok":"done"}}}"#),
        "wrong-answer" => answer(r#"{"Ok":"done"}"#),
        "endless-error" => {
            answer(&format!(r#"{{"Err":{{"code":"internal","message":"{}"}}}}"#, "\\u001b[2Jline\\n".repeat(20_000)))
        }
        "exit-of-another" => after_handshake(&exited(&"0".repeat(64))),
        "flood" => flood(),
        "dials-everything" => dial_everything(),
        "started-and-gone" => answer(r#"{"Ok":{"started":{"pid":1}}}"#).and_then(|()| end()),
        other => bail!("unknown mode {other}"),
    }
}

fn dial(port: u32) -> Result<File> {
    let descriptor = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    connect(descriptor.as_raw_fd(), &VsockAddr::new(HOST, port)).with_context(|| format!("dialling {port}"))?;
    Ok(descriptor.into())
}

fn frame(json: &str) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), json.as_bytes()].concat()
}

fn exited(container: &str) -> String {
    format!(
        r#"{{"event":{{"exited":{{"process":{{"container":"{container}","exec":null}},"code":0,"oom_killed":false}}}}}}"#
    )
}

/// Sends this first, and reads until the host hangs up.
fn first(bytes: &[u8]) -> Result<()> {
    let mut control = dial(CONTROL)?;
    control.write_all(bytes)?;
    hold(&control)
}

fn hold(mut control: &File) -> Result<()> {
    let mut chunk = [0; 4096];
    while control.read(&mut chunk)? > 0 {}
    Ok(())
}

fn handshake() -> Result<File> {
    let mut control = dial(CONTROL)?;
    control.write_all(&frame(HELLO))?;
    let welcome = read(&mut control)?;
    if !welcome.contains("version") {
        bail!("welcomed with {welcome}");
    }
    Ok(control)
}

fn read(control: &mut File) -> Result<String> {
    let mut length = [0; 4];
    control.read_exact(&mut length)?;
    let mut body = vec![0; usize::try_from(u32::from_le_bytes(length))?];
    control.read_exact(&mut body)?;
    Ok(String::from_utf8(body)?)
}

fn after_handshake(json: &str) -> Result<()> {
    let mut control = handshake()?;
    control.write_all(&frame(json))?;
    hold(&control)
}

/// Waits for the first request and answers it with this.
fn answer(result: &str) -> Result<()> {
    let mut control = handshake()?;
    let request = read(&mut control)?;
    let id = request.split("\"id\":").nth(1).and_then(|rest| rest.split([',', '}']).next()).context("no id")?;
    control.write_all(&frame(&format!(r#"{{"answer":{{"id":{id},"result":{result}}}}}"#)))?;
    std::thread::sleep(Duration::from_millis(200));
    Ok(())
}

fn end() -> Result<()> {
    Ok(rustix::system::reboot(rustix::system::RebootCommand::Restart)?)
}

/// Warnings as fast as they go, without an answer to anything.
fn flood() -> Result<()> {
    let mut control = handshake()?;
    let warning = frame(&format!(r#"{{"event":{{"warning":{{"message":"{}"}}}}}}"#, "w".repeat(1000)));
    let many = warning.repeat(64);
    loop {
        control.write_all(&many)?;
    }
}

/// Ports that nobody offered, many at once, while the control connection stays mute.
fn dial_everything() -> Result<()> {
    let control = handshake()?;
    let reached: Vec<_> = (0..1000).chain(1 << 31..(1 << 31) + 100).filter_map(|port| dial(port).ok()).collect();
    println!("hostile dials-everything: reached {}", reached.len());
    hold(&control)
}
