//! Decoders of the formats that hospitals speak, and a synthetic cohort in the same formats.
//!
//! Bytes in, typed values out: no file, clock or network. Every length is bounded before memory is
//! taken, hostile bytes give an [`Error`] that names the reason and never the content, and what a
//! format cannot say is not invented.
//!
//! | Module | Reads |
//! |---|---|
//! | [`fhir`] | FHIR R4 bundles: resources, owners, identities, demographics, vitals, conditions |

mod error;
pub mod fhir;
mod json;

pub use error::{Error, Result};
