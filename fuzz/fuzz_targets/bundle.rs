//! Fuzzes the decoder of proof bundles.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::bundle(data);
});
