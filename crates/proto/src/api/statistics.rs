//! Counts of a hospital's patients: exact for its own people, signed and coarse for everybody else.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TimestampMs;
use crate::api::{Binary, opaque_debug};
use crate::ids::{OrganisationId, PrincipalId};

/// What a node says about the patients of its organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Statistics {
    /// Whose patients.
    pub organisation: OrganisationId,
    /// Whether every patient is counted; otherwise the node goes on when it is asked again.
    pub complete: bool,
    /// What leaves the hospital: a signed `Counts` for each chart (`docs/formats.md`, "Statistics"). A
    /// chart with too few patients has none.
    pub statements: Vec<Binary>,
    /// The numbers as they are, for the hospital's own people alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<ExactCounts>,
}

/// The numbers as they are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExactCounts {
    /// When they were counted.
    pub at: TimestampMs,
    /// Patients with records of symptoms that are counted so far.
    pub patients: u64,
    /// Patients with records of symptoms.
    pub of: u64,
    /// Patients of whom a record of symptoms does not open; they are counted nowhere else.
    pub unreadable: u64,
    /// Patients with a symptom in words alone.
    pub uncoded: u64,
    /// By symptom, the most frequent first.
    pub symptoms: Vec<SymptomPatients>,
    /// Patients who consulted a doctor.
    pub consulting: u64,
    /// By doctor, the one with most patients first.
    pub doctors: Vec<DoctorPatients>,
}

/// Patients who have one coded symptom or diagnosis.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SymptomPatients {
    /// URI of the code system; empty if the sources name none.
    pub system: String,
    /// The code.
    pub code: String,
    /// The code's most frequent words.
    pub display: String,
    /// Patients.
    pub patients: u64,
}

/// Patients who consulted one doctor.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoctorPatients {
    /// The doctor.
    pub doctor: PrincipalId,
    /// Patients.
    pub patients: u64,
}

opaque_debug!(ExactCounts SymptomPatients DoctorPatients);
