//! Fuzzes the decoder of manifests of image folders.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::manifest(data);
});
