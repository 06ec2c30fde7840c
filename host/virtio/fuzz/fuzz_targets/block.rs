//! See `hull_virtio::fuzzing::block`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hull_virtio::fuzzing::block(input));
