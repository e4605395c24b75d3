//! Fuzzes the decoder of stored ECGs.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::ecg(data);
});
