//! Fuzzes the decoder of state proofs.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::state_proof(data);
});
