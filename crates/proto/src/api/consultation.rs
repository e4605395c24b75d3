//! Consultations and prescriptions; their contents are sealed records.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Binary;
use crate::ids::{
    AccessId, BatchId, ConsultationId, OrganisationId, PatientAlias, PrincipalId, RecordId,
};
use crate::{Digest, TimestampMs};

/// Opens a consultation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsultationRequest {
    /// The signed `OpenConsultation` command.
    pub command: Binary,
    /// The key of each record that is sent, wrapped to the doctor, at most 1,024.
    pub record_wraps: Vec<RecordWrapBody>,
}

/// One record key wrapped to one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordWrapBody {
    /// The record.
    pub record: RecordId,
    /// For whom.
    pub recipient: PrincipalId,
    /// The HPKE message, 1,168 bytes.
    pub wrap: Binary,
}

/// Answers a consultation; the answer's batch was uploaded before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswerRequest {
    /// The signed `AnswerConsultation` command.
    pub command: Binary,
}

/// A consultation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsultationView {
    /// The consultation.
    pub consultation: ConsultationId,
    /// Whose records.
    pub alias: PatientAlias,
    /// The hospital that keeps them: at its node the parties read and answer.
    pub custodian: OrganisationId,
    /// Who asks.
    pub patient: PrincipalId,
    /// Who is asked.
    pub doctor: PrincipalId,
    /// The doctor's grant.
    pub access: AccessId,
    /// The records that the doctor may read.
    pub records: Vec<RecordId>,
    /// The batch that holds the question.
    pub question: BatchId,
    /// The question's records.
    pub question_records: Vec<RecordId>,
    /// When it was opened.
    pub opened: TimestampMs,
    /// Until when the doctor may read and answer.
    pub until: TimestampMs,
    /// The answer, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerView>,
}

/// A doctor's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswerView {
    /// The batch that holds answer and prescriptions.
    pub batch: BatchId,
    /// Its records: the answer first, then the prescriptions.
    pub records: Vec<RecordId>,
    /// How many of them are prescriptions.
    pub prescriptions: u32,
    /// When.
    pub at: TimestampMs,
}

/// From which side somebody looks at consultations and prescriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConsultationSide {
    /// Those that the caller asked.
    Patient,
    /// Those that the caller is asked.
    Doctor,
}

/// A prescription that a doctor gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrescriptionView {
    /// The sealed record that holds it.
    pub record: RecordId,
    /// The consultation in which it was given.
    pub consultation: ConsultationId,
    /// For whom.
    pub alias: PatientAlias,
    /// The registered patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<PrincipalId>,
    /// Who gave it.
    pub doctor: PrincipalId,
    /// When.
    pub at: TimestampMs,
}

/// What whoever asks about a prescription knows of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrescriptionQuestion {
    /// SHA-256 of salt and body of its plaintext, as its signed statement has it.
    pub content: Digest,
}

/// What proves a prescription to somebody who has its plaintext and trusts the genesis file alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrescriptionEvidence {
    /// The doctor's signed statement about the plaintext (COSE_Sign).
    pub statement: Binary,
    /// The proof bundle of the record, as text: its anchor, signed manifest, entry and keys.
    pub proof: String,
    /// The proof bundle of the doctor's row in the state, as text: role and standing.
    pub doctor: String,
}
