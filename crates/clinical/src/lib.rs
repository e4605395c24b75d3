//! Decoders of the formats that hospitals speak, and a synthetic cohort in the same formats.
//!
//! Bytes in, typed values out: no file, clock or network. Every length is bounded before memory is
//! taken, hostile bytes give an [`Error`] that names the reason and never the content, and what a
//! format cannot say is not invented.
//!
//! | Module | Reads |
//! |---|---|
//! | [`fhir`] | FHIR R4 bundles: resources, owners, identities, demographics, vitals, conditions |
//! | [`wfdb`] | WFDB records into [`ecg::Ecg`] |
//! | [`dicom`] | DICOM: metadata, pixels, waveforms |
//! | [`image`] | PNG and JPEG into pixels |
//! | [`pdf`] | PDF: whether it is sound and complete; no rendering |
//! | [`sniff`] | what a file is, from its bytes; harmless names |
//! | [`tar`] | USTAR archives |
//! | [`catalogue`] | manifests of the public data sets, and who publishes them |
//! | [`synth`] | nothing: it writes the synthetic cohort |

pub mod catalogue;
pub mod dicom;
pub mod ecg;
mod error;
pub mod fhir;
pub mod image;
mod json;
pub mod pdf;
pub mod sniff;
pub mod synth;
pub mod tar;
pub mod wfdb;

pub use error::{Error, Result};
