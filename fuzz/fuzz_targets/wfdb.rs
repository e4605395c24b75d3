//! Fuzzes the decoder of WFDB records.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::wfdb(data);
});
