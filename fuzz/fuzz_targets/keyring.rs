//! Fuzzes the decoder of stored keyrings.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::keyring(data);
});
