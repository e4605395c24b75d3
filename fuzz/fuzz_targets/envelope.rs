//! Fuzzes the decoder of COSE envelopes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::envelope(data);
});
