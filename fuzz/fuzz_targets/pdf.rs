//! Fuzzes the decoder of PDF documents.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::pdf(data);
});
