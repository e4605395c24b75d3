//! Sealed records as the ledger and the stores see them: anchors, manifests, wraps and uploads.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::ids::{AccessId, BatchId, OrganisationId, PatientAlias, PrincipalId, RecordId};
use crate::{Digest, TimestampMs};

/// Most records in one batch.
pub const BATCH_RECORDS_LIMIT: usize = 4096;
/// Largest encoded [`SealedBatch`], in bytes; larger blobs are uploaded by themselves first.
pub const BATCH_LIMIT: usize = 64 << 20;
/// Largest encoded manifest envelope (COSE_Sign with two signatures), in bytes.
pub const MANIFEST_LIMIT: usize = 16 << 10;
/// Longest clear name of a patient, in bytes.
pub const NAME_LIMIT: usize = 400;

/// Which of a patient's class keys opens a record (`docs/formats.md`, "Keys").
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum KeyClass {
    /// Explicit identifiers: address, phone, e-mail, identifiers (and the name, in the strict profile).
    #[n(0)]
    Identity,
    /// Quasi-identifiers: birth date, sex, postcode.
    #[n(1)]
    Quasi,
    /// Everything clinical.
    #[n(2)]
    Medical,
}

impl KeyClass {
    /// All classes, ascending.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Quasi, Self::Medical];
}

/// What a record is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// Address, phone, e-mail and identifiers.
    #[n(0)]
    Demographics,
    /// Pulse, blood pressure and other vital signs.
    #[n(1)]
    Vitals,
    /// An ECG waveform.
    #[n(2)]
    Ecg,
    /// A symptom or condition.
    #[n(3)]
    Symptom,
    /// A document, for example a PDF.
    #[n(4)]
    Document,
    /// A medical image.
    #[n(5)]
    Image,
    /// A medication statement or request taken in from elsewhere.
    #[n(6)]
    Medication,
    /// A visit.
    #[n(7)]
    Encounter,
    /// A laboratory result or other observation.
    #[n(8)]
    Observation,
    /// An allergy or intolerance.
    #[n(9)]
    Allergy,
    /// A procedure.
    #[n(10)]
    Procedure,
    /// A segment of wearable-device data.
    #[n(11)]
    Wearable,
    /// A patient's question to a doctor.
    #[n(12)]
    Question,
    /// A doctor's answer.
    #[n(13)]
    Answer,
    /// A prescription that a doctor signed.
    #[n(14)]
    Prescription,
    /// Birth date, sex and postcode.
    #[n(15)]
    QuasiIdentifiers,
    /// Any other resource.
    #[n(16)]
    Other,
    /// A coded finding about an image: what it shows, by whoever labelled it.
    #[n(17)]
    Finding,
}

/// What the world may know of one sealed record. One leaf of a batch's anchors tree.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct RecordAnchor {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// 1 for the first version, then counting up.
    #[n(1)]
    pub version: u32,
    /// Which class key opens it.
    #[n(2)]
    pub class: KeyClass,
    /// The epoch of that class key when the record was sealed; 0 for a record that is shared by
    /// [`RecordWrap`]s alone.
    #[n(3)]
    pub epoch: u32,
    /// What it is.
    #[n(4)]
    pub kind: RecordKind,
    /// SHA-256 of the sealed bytes.
    #[n(5)]
    pub ciphertext: Digest,
    /// Length of the sealed bytes.
    #[n(6)]
    pub length: u64,
    /// SHA-256 of the signed statement about the plaintext (documents, answers, prescriptions).
    #[n(7)]
    pub statement: Option<Digest>,
}

/// What a batch's signer vouches for. Signed as COSE_Sign with Ed25519 and ML-DSA-65.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Manifest {
    /// The batch.
    #[n(0)]
    pub batch: BatchId,
    /// Whose records these are.
    #[n(1)]
    pub alias: PatientAlias,
    /// The organisation that keeps them.
    #[n(2)]
    pub organisation: OrganisationId,
    /// Who signs: hospital staff or the organisation, the patient (a question), a doctor (an answer).
    #[n(3)]
    pub signer: PrincipalId,
    /// When the batch was sealed, by the signer's clock.
    #[n(4)]
    pub created: TimestampMs,
    /// RFC 9162 tree root over the encoded [`RecordAnchor`]s in order.
    #[n(5)]
    pub anchors_root: Digest,
    /// Number of records, at least 1.
    #[n(6)]
    pub count: u32,
}

/// What is signed, with both signature kinds, about a plaintext that must stand for decades.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Statement {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// What it is.
    #[n(1)]
    pub kind: RecordKind,
    /// Media type of the plaintext, for example `application/pdf`.
    #[n(2)]
    pub media_type: String,
    /// SHA-256 of `salt || plaintext`; the salt stands in the sealed content, so that the digest
    /// says nothing once the record is erased.
    #[n(3)]
    pub content: Digest,
    /// Who signs.
    #[n(4)]
    pub signer: PrincipalId,
    /// When.
    #[n(5)]
    pub signed: TimestampMs,
}

/// The plaintext of every record before it is sealed.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Content {
    /// Media type of the body: `application/fhir+json`, `application/dicom`, `application/pdf`,
    /// `image/png`, `application/vnd.salus.ecg+cbor`, ...
    #[n(0)]
    pub media_type: String,
    /// A file or resource name for people; empty if there is none.
    #[n(1)]
    pub title: String,
    /// Random salt of the [`Statement`]'s digest.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub salt: [u8; 16],
    /// The data.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

impl core::fmt::Debug for Content {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Content")
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What a sealed record is bound to: opening it under any other name fails. The associated data of
/// the sealed stream is this structure's encoding.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecordContext {
    /// Whose record.
    #[n(0)]
    pub alias: PatientAlias,
    /// The record.
    #[n(1)]
    pub record: RecordId,
    /// Its version.
    #[n(2)]
    pub version: u32,
    /// Which class key opens it.
    #[n(3)]
    pub class: KeyClass,
    /// The epoch of that class key when the record was sealed.
    #[n(4)]
    pub epoch: u32,
    /// What it is.
    #[n(5)]
    pub kind: RecordKind,
    /// Who sealed it.
    #[n(6)]
    pub signer: PrincipalId,
}

/// What a record key's wrap under a class key is bound to (its associated data). It names the epoch
/// of the class key that wraps it now, so that a record key moves to a new epoch while the sealed
/// bytes, and with them the anchored epoch of [`RecordContext`], stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyWrapContext {
    /// Whose record.
    #[n(0)]
    pub alias: PatientAlias,
    /// The record.
    #[n(1)]
    pub record: RecordId,
    /// Its version.
    #[n(2)]
    pub version: u32,
    /// Which class key wraps it.
    #[n(3)]
    pub class: KeyClass,
    /// The epoch of that class key.
    #[n(4)]
    pub epoch: u32,
}

/// What a [`ClassWrap`] is bound to (its HPKE associated data).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ClassWrapContext {
    /// Whose class key.
    #[n(0)]
    pub alias: PatientAlias,
    /// Which class.
    #[n(1)]
    pub class: KeyClass,
    /// Which epoch.
    #[n(2)]
    pub epoch: u32,
    /// For whom.
    #[n(3)]
    pub recipient: PrincipalId,
    /// Under which grant.
    #[n(4)]
    pub access: Option<AccessId>,
}

/// What a [`RecordWrap`] is bound to (its HPKE associated data).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecordWrapContext {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// For whom.
    #[n(1)]
    pub recipient: PrincipalId,
    /// Under which grant.
    #[n(2)]
    pub access: Option<AccessId>,
}

/// A class key wrapped to one recipient (HPKE, X-Wing).
#[derive(Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct ClassWrap {
    /// Whose class key.
    #[n(0)]
    pub alias: PatientAlias,
    /// Which class.
    #[n(1)]
    pub class: KeyClass,
    /// Which epoch.
    #[n(2)]
    pub epoch: u32,
    /// For whom.
    #[n(3)]
    pub recipient: PrincipalId,
    /// The grant under which the recipient holds it; absent for the custodian's own wrap.
    #[n(4)]
    pub access: Option<AccessId>,
    /// The HPKE message, 1,168 bytes.
    #[cbor(n(5), with = "minicbor::bytes")]
    #[serde(with = "crate::encode::base64url")]
    pub wrap: Vec<u8>,
}

/// One record key wrapped to one recipient (HPKE, X-Wing): "share just this".
#[derive(Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct RecordWrap {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// For whom.
    #[n(1)]
    pub recipient: PrincipalId,
    /// The grant or consultation under which the recipient holds it; absent for its author and the
    /// custodian.
    #[n(2)]
    pub access: Option<AccessId>,
    /// The HPKE message, 1,168 bytes.
    #[cbor(n(3), with = "minicbor::bytes")]
    #[serde(with = "crate::encode::base64url")]
    pub wrap: Vec<u8>,
}

macro_rules! opaque_debug {
    ($($name:ident)*) => {$(
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
opaque_debug!(ClassWrap RecordWrap SealedRecord SealedBatch);

/// One record of a [`SealedBatch`], beside its anchor of the same position.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SealedRecord {
    /// The record key under the class key (AES-256-GCM, 60 bytes); absent when the record has
    /// [`RecordWrap`]s only.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub key_wrap: Option<Vec<u8>>,
    /// The signed [`Statement`] (COSE_Sign), if the anchor has a statement digest.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub statement: Option<Vec<u8>>,
    /// The sealed bytes; absent when they were uploaded beforehand under their digest.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub blob: Option<Vec<u8>>,
}

/// An upload: everything about one batch. The node stores it, submits the command and answers when
/// the command is final.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SealedBatch {
    /// The signed [`Manifest`] (COSE_Sign).
    #[cbor(n(0), with = "minicbor::bytes")]
    pub manifest: Vec<u8>,
    /// The anchors in the order of the anchors tree.
    #[n(1)]
    pub anchors: Vec<RecordAnchor>,
    /// The records, beside the anchors.
    #[n(2)]
    pub records: Vec<SealedRecord>,
    /// Class keys that are new with this batch, wrapped to the custodian.
    #[n(3)]
    pub class_wraps: Vec<ClassWrap>,
    /// Record keys wrapped to single recipients.
    #[n(4)]
    pub record_wraps: Vec<RecordWrap>,
    /// The patient's name in clear, in the default profile, when it is new or changed.
    #[n(5)]
    pub name: Option<String>,
    /// The signed command that anchors the batch.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub command: Vec<u8>,
}
