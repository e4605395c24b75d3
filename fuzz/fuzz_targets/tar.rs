//! Fuzzes the decoder of tar archives.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::tar(data);
});
