//! Fuzzes the decoder of WFDB annotations.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::annotations(data);
});
