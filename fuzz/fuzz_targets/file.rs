//! Fuzzes the decoder of sealed files.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::file(data);
});
