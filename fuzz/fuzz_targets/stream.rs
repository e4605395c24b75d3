//! Fuzzes the decoder of sealed streams.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::stream(data);
});
