//! See `hull_virtio::fuzzing::queue`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hull_virtio::fuzzing::queue(input));
