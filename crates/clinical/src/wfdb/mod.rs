//! WFDB, the format of PhysioNet's waveform records (WFDB Applications Guide, `header(5)`,
//! `signal(5)`, `annot(5)`).

mod write;

pub use write::write_format_16;
