//! Events: what changed, as server-sent events. They carry ids only; the client fetches.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The data of one event. The event's own id is the log entry that caused it, if one did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// What kind of thing changed.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The thing's id, hexadecimal; the entry's position for receipts and incidents; empty for attempts.
    pub id: String,
}

/// What kind of thing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A principal registered, was decided on, replaced its keys or was shut out.
    Principal,
    /// An access was asked for, decided or ended.
    Access,
    /// A consultation was opened or answered.
    Consultation,
    /// Records were anchored.
    Batch,
    /// Somebody read records.
    Receipt,
    /// A change of membership was proposed or approved.
    Membership,
    /// An incident was reported.
    Incident,
    /// A patient's alias was opened or linked.
    Patient,
    /// A federated job moved on.
    Job,
    /// An attempt was refused at this node. Comes without an event id: nothing on the ledger caused it.
    Attempt,
}

impl EventKind {
    /// The word that stands in JSON and in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Access => "access",
            Self::Consultation => "consultation",
            Self::Batch => "batch",
            Self::Receipt => "receipt",
            Self::Membership => "membership",
            Self::Incident => "incident",
            Self::Patient => "patient",
            Self::Job => "job",
            Self::Attempt => "attempt",
        }
    }
}
