//! Sealed batches: built by whoever writes records, checked by whoever stores them, opened by
//! whoever holds a key.
//!
//! ```text
//!  class key  --wraps-->  record key  --seals-->  content
//!      |                      |
//!   HPKE to the custodian   HPKE to one recipient ("share just this")
//!   and to grant holders
//! ```
//!
//! **Invariants:** nothing here does I/O, reads a clock or draws entropy; nothing plain leaves
//! [`seal::BatchBuilder::finish`].

pub mod open;
pub mod seal;
pub mod share;
pub mod verify;

use salus_proto::encode::Malformed;
use salus_proto::ids::RecordId;

/// Why a batch or a record was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the deterministic encoding of what was expected.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A key, signature, wrap or sealed stream is wrong.
    #[error(transparent)]
    Crypto(#[from] salus_crypto::Error),
    /// A list is empty, too long, or two lists that belong together differ in length.
    #[error("the batch has {what}")]
    Shape {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The anchors do not hash to the root that the manifest names.
    #[error("the anchors are not those that the manifest was signed over")]
    AnchorsRoot,
    /// The manifest is not the one that the ledger anchored.
    #[error("the manifest is not the one that the ledger anchored")]
    NotAnchored,
    /// The sealed bytes are not those that the anchor names.
    #[error("the sealed bytes of record {record} do not match their anchor")]
    Ciphertext {
        /// The record.
        record: RecordId,
    },
    /// A signed statement is missing, unexpected, or not about this record.
    #[error("the signed statement of record {record} does not belong to it")]
    Statement {
        /// The record.
        record: RecordId,
    },
    /// There is no key that opens the record.
    #[error("no key at hand opens record {record}")]
    NoKey {
        /// The record.
        record: RecordId,
    },
}

impl Error {
    /// The stable name of the error, as the golden vectors and other languages use it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Crypto(error) => error.name(),
            Self::Shape { .. } => "shape",
            Self::AnchorsRoot => "anchors-root",
            Self::NotAnchored => "not-anchored",
            Self::Ciphertext { .. } => "ciphertext",
            Self::Statement { .. } => "statement",
            Self::NoKey { .. } => "no-key",
        }
    }
}
