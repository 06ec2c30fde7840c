//! See `hull_virtio::fuzzing::vsock_rings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hull_virtio::fuzzing::vsock_rings(input));
