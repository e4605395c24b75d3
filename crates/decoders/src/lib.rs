//! Every decoder of bytes from outside, behind one signature; no product code.
//!
//! `fuzz/` feeds these functions with whatever libFuzzer finds, and this crate's test replays what it
//! found, and mutations of it, with the stable toolchain. A function returns whatever the bytes are;
//! it panics, or takes memory and time without bound, only if the decoder has a bug. Where a decoder
//! accepts, the function also checks what must hold of anything accepted: one encoding of each value,
//! samples that fit their dimensions.
//!
//! ```text
//!   fuzz/corpus/<name>/*  ──>  tests/replay.rs  ──┐
//!                                                 ├──>  TARGETS[name](bytes)  ──>  the decoder
//!   libFuzzer  ──>  fuzz/fuzz_targets/<name>.rs ──┘
//! ```

#![expect(
    clippy::missing_panics_doc,
    reason = "each panics exactly when the decoder has a bug"
)]

mod clinical;
mod keys;
mod ledger;
mod sealed;

pub use clinical::{annotations, dicom, ecg, fhir, image, manifest, pdf, tar, wfdb};
pub use ledger::{bundle, command, federated, genesis, note, state_proof};
pub use sealed::{batch, envelope, file, keyring, stream};

/// One decoder under test: whether it accepts the bytes, in any of the forms that it reads.
pub type Target = fn(&[u8]) -> bool;

/// All targets by the names of their corpora and of their files in `fuzz/fuzz_targets`, ascending.
pub const TARGETS: &[(&str, Target)] = &[
    ("annotations", annotations),
    ("batch", batch),
    ("bundle", bundle),
    ("command", command),
    ("dicom", dicom),
    ("ecg", ecg),
    ("envelope", envelope),
    ("federated", federated),
    ("fhir", fhir),
    ("file", file),
    ("genesis", genesis),
    ("image", image),
    ("keyring", keyring),
    ("manifest", manifest),
    ("note", note),
    ("pdf", pdf),
    ("state_proof", state_proof),
    ("stream", stream),
    ("tar", tar),
    ("wfdb", wfdb),
];
