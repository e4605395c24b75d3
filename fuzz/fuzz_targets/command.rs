//! Fuzzes the decoder of signed commands and log entries.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::command(data);
});
