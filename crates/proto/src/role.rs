//! Who someone is to the consortium, why they act, and how a decision came about.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The role in which a principal acts; a person with two roles has two principals.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A member organisation acting with its own keys, through its node.
    #[n(0)]
    Organisation,
    /// A person whose records are kept.
    #[n(1)]
    Patient,
    /// A practitioner who answers consultations.
    #[n(2)]
    Doctor,
    /// Hospital staff who take records in and answer access requests.
    #[n(3)]
    Staff,
    /// An operator of the healthcare cloud: authorises profiles, watches, never reads records.
    #[n(4)]
    Operator,
    /// A university or company that uses data under an agreement.
    #[n(5)]
    DataUser,
    /// Someone who may see all evidence and no record.
    #[n(6)]
    Auditor,
}

impl Role {
    /// Every role, in the order of the authorization grid.
    pub const ALL: [Self; 7] = [
        Self::Organisation,
        Self::Patient,
        Self::Doctor,
        Self::Staff,
        Self::Operator,
        Self::DataUser,
        Self::Auditor,
    ];
}

/// What a member's node is for; a node may have several of these.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum NodeRole {
    /// Keeps sealed records of its own patients (a cloudlet).
    #[n(0)]
    Hospital,
    /// Keeps replicas of sealed records, accounts and the intrusion watch.
    #[n(1)]
    Cloud,
    /// Averages model updates.
    #[n(2)]
    Coordinator,
    /// Uses data sets under agreements.
    #[n(3)]
    DataUser,
}

/// Why somebody reads: HL7 v3 PurposeOfUse (code system `v3-ActReason`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// `TREAT`: care of this patient.
    #[n(0)]
    Treatment,
    /// `PATRQT`: the patient asked for their own data.
    #[n(1)]
    PatientRequest,
    /// `ETREAT`: emergency care.
    #[n(2)]
    Emergency,
    /// `HRESCH`: research under an agreement.
    #[n(3)]
    Research,
    /// `HOPERAT`: running the hospital, for example checking what was taken in.
    #[n(4)]
    Operations,
}

/// Yes or no, as an authority decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Granted.
    #[n(0)]
    Approve,
    /// Refused.
    #[n(1)]
    Refuse,
}

/// Why a decision was taken. A code, because free text could name a person on the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Identity and entitlement were checked.
    #[n(0)]
    IdentityVerified,
    /// The identity could not be established.
    #[n(1)]
    IdentityNotVerified,
    /// No licence, employment or agreement supports the role.
    #[n(2)]
    NotEntitled,
    /// The person's own records, as the law gives them.
    #[n(3)]
    OwnRecords,
    /// A legal or medical hold stands against it.
    #[n(4)]
    Hold,
    /// A duplicate of another profile or request.
    #[n(5)]
    Duplicate,
    /// Asked for more than the purpose needs.
    #[n(6)]
    TooBroad,
    /// A key or device was lost or stolen.
    #[n(7)]
    KeyCompromised,
    /// The person left the role or the organisation.
    #[n(8)]
    LeftRole,
    /// The grantor withdrew consent.
    #[n(9)]
    ConsentWithdrawn,
}

/// Who took a decision: a rule that the organisation published, or a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The organisation's standing policy.
    #[n(0)]
    Policy,
    /// A named person.
    #[n(1)]
    Person,
}
