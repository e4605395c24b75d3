//! Fuzzes the decoder of federated plans, updates and rounds.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::federated(data);
});
