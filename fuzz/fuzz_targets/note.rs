//! Fuzzes the decoder of checkpoint notes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::note(data);
});
