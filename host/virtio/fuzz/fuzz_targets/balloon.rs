//! See `hull_virtio::fuzzing::balloon`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hull_virtio::fuzzing::balloon(input));
