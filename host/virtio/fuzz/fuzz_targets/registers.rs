//! See `hull_virtio::fuzzing::registers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hull_virtio::fuzzing::registers(input));
