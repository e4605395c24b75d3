//! Fuzzes the decoder of sealed batches.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::batch(data);
});
