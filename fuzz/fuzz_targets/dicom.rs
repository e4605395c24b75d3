//! Fuzzes the decoder of DICOM files.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    salus_decoders::dicom(data);
});
