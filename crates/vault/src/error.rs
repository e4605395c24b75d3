//! What can go wrong in the vault, named for what the caller can do about it.
//!
//! Texts name ids, classes and objects, never names of people or keys.

use salus_proto::encode::Malformed;
use salus_proto::ids::{BatchId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::KeyClass;

/// A refusal or failure of the vault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refusal: the batch, a record, a wrap or a signature is wrong.
    #[error(transparent)]
    Envelope(#[from] salus_envelope::Error),
    /// Refusal or failure: tables or blobs; its class says which.
    #[error(transparent)]
    Runtime(#[from] salus_runtime::Error),
    /// Refusal: bytes that are not what they should be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Refusal: whoever signed is not on the ledger or may not act.
    #[error("the signer {signer} is not an authorised principal")]
    UnknownSigner {
        /// Who claims to have signed.
        signer: PrincipalId,
    },
    /// Refusal: the alias is not on the ledger, or another organisation keeps its records.
    #[error("records of {alias} are not kept here")]
    NotCustodian {
        /// The alias.
        alias: PatientAlias,
    },
    /// Refusal: the batch id was used for other content.
    #[error("batch {batch} was uploaded before with other content; seal it under a fresh id")]
    BatchTaken {
        /// The batch.
        batch: BatchId,
    },
    /// Refusal: the record exists, or the version it follows does not.
    #[error("record {record} exists in this version, or its previous version does not")]
    RecordTaken {
        /// The record.
        record: RecordId,
    },
    /// Refusal: the class has a key already.
    #[error("the patient's {class:?} class has a key already; seal under that one")]
    ClassKeyTaken {
        /// The class.
        class: KeyClass,
    },
    /// Refusal: sealed under a class key that is not the current one.
    #[error("the {class:?} class key of epoch {epoch} is not the current one; seal again")]
    WrongEpoch {
        /// The class.
        class: KeyClass,
        /// The epoch that the batch used.
        epoch: u32,
    },
    /// Refusal: the record's sealed bytes neither came along nor were uploaded before.
    #[error("the sealed bytes of record {record} were not uploaded")]
    MissingBlob {
        /// The record.
        record: RecordId,
    },
    /// Refusal: the ledger does not have the batch, or has another under its id.
    #[error("batch {batch} is not anchored on the ledger as it stands here")]
    NotAnchored {
        /// The batch.
        batch: BatchId,
    },
    /// Refusal: no such thing here.
    #[error("no such {what}")]
    NotFound {
        /// Its kind.
        what: &'static str,
    },
    /// Refusal: the entry is no receipt for what is asked.
    #[error("the entry is no valid receipt: {reason}")]
    NotAReceipt {
        /// Why not.
        reason: &'static str,
    },
    /// Refusal: the receipt is older than the time within which bytes are given out.
    #[error("the receipt is older than ten minutes; read again")]
    ReceiptExpired,
    /// Refusal: nothing here opens the record for this reader.
    #[error("nothing here lets this reader open record {record}")]
    NotForReader {
        /// The record.
        record: RecordId,
    },
    /// Refusal: an upload's part is out of range or of the wrong length.
    #[error("the part does not fit the upload: {reason}")]
    Part {
        /// Why not.
        reason: &'static str,
    },
    /// Failure: a stored row does not decode.
    #[error("a stored row of {what} is damaged")]
    Damaged {
        /// The table.
        what: &'static str,
    },
    /// Failure: the node is shutting down, or a task died.
    #[error("the work was interrupted; try again")]
    Interrupted,
}

impl From<salus_crypto::Error> for Error {
    fn from(error: salus_crypto::Error) -> Self {
        Self::Envelope(error.into())
    }
}
