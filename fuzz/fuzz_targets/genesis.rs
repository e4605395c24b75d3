//! Fuzzes the decoder of genesis files and member lists.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::genesis(data);
});
