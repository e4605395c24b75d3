//! Fuzzes the decoder of PNG and JPEG pictures.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::image(data);
});
