//! Fuzzes the decoder of FHIR bundles.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::fhir(data);
});
