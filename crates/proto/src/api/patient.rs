//! Patients of a hospital under their aliases, their sealed records and who read them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::opaque_debug;
use crate::api::record::ReleasedClassWrap;
use crate::ids::{AccessId, BatchId, OrganisationId, PatientAlias, PrincipalId, RecordId};
use crate::record::{KeyClass, RecordKind};
use crate::role::{Purpose, Role};
use crate::{Digest, TimestampMs};

/// A patient in a hospital's list.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PatientSummary {
    /// The alias.
    pub alias: PatientAlias,
    /// The hospital that keeps the records.
    pub custodian: OrganisationId,
    /// The clear name; absent in the strict profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The registered patient behind the alias, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<PrincipalId>,
    /// Number of records that this node holds.
    pub records: u64,
    /// When the alias was opened.
    pub opened: TimestampMs,
}

/// One of the caller's own aliases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OwnAlias {
    /// The alias.
    pub alias: PatientAlias,
    /// The hospital that keeps the records.
    pub custodian: OrganisationId,
    /// Its name.
    pub custodian_name: String,
    /// Base URL of its API.
    pub api: String,
}

/// One sealed record: what may be known without opening it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealedRecordView {
    /// The record.
    pub record: RecordId,
    /// Its version, from 1.
    pub version: u32,
    /// Which class key opens it.
    pub class: KeyClass,
    /// The epoch of that class key.
    pub epoch: u32,
    /// What it is.
    pub kind: RecordKind,
    /// SHA-256 of the sealed bytes.
    pub ciphertext: Digest,
    /// Length of the sealed bytes.
    pub length: u64,
    /// SHA-256 of the signed statement about the plaintext, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Digest>,
    /// The batch that brought it.
    pub batch: BatchId,
    /// Who signed the batch.
    pub signer: PrincipalId,
    /// When, by the signer's clock.
    pub signed: TimestampMs,
    /// The log entry that anchored it.
    pub entry: u64,
}

/// The current class keys of a patient, for the organisation that keeps and seals their records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealingKeys {
    /// One of each class, wrapped to the organisation; none for a patient without records.
    pub class_wraps: Vec<ReleasedClassWrap>,
}

/// One finalised reading of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The log entry; the receipt itself.
    pub entry: u64,
    /// Who read.
    pub reader: PrincipalId,
    /// In which role.
    pub reader_role: Role,
    /// Of which organisation.
    pub organisation: OrganisationId,
    /// What.
    pub records: Vec<RecordId>,
    /// Why.
    pub purpose: Purpose,
    /// Under which grant; absent for the custodian's people and for authors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessId>,
    /// When.
    pub at: TimestampMs,
}

opaque_debug!(PatientSummary);
