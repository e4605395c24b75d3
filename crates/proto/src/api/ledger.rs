//! The ledger as anybody may check it: status, members, entries, proofs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Binary;
use crate::command::{Action, Outcome};
use crate::ids::{ConsortiumId, OrganisationId, PrincipalId, ProposalId};
use crate::member::MembershipChange;
use crate::role::NodeRole;
use crate::{Digest, TimestampMs};

/// Where this node's ledger stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerStatus {
    /// The replay domain of commands.
    pub consortium: ConsortiumId,
    /// The organisation whose node this is.
    pub organisation: OrganisationId,
    /// First line of every checkpoint.
    pub origin: String,
    /// Height of the last block that this node executed.
    pub height: u64,
    /// Entries in the log.
    pub size: u64,
    /// The last checkpoint that a quorum signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified: Option<CertifiedStatus>,
    /// The members and when this node last heard from each.
    pub members: Vec<MemberStatus>,
    /// Present while writes cannot become final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<Stalled>,
}

/// The last checkpoint that a quorum signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertifiedStatus {
    /// Entries in the log.
    pub size: u64,
    /// Root of the log.
    pub root: Digest,
    /// Block time.
    pub time: TimestampMs,
}

/// A member as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberStatus {
    /// The organisation.
    pub organisation: OrganisationId,
    /// Its name.
    pub name: String,
    /// What its node is for.
    pub roles: Vec<NodeRole>,
    /// Base URL of its API.
    pub api: String,
    /// When this node last heard from it; absent if never since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heard: Option<TimestampMs>,
    /// The height it last reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
}

/// Why writes wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stalled {
    /// Since when, by this node's clock.
    pub since: TimestampMs,
    /// Members that do not answer.
    pub silent: Vec<OrganisationId>,
}

/// A member with everything the ledger says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberDetail {
    /// The organisation.
    pub organisation: OrganisationId,
    /// Its name.
    pub name: String,
    /// What its node is for.
    pub roles: Vec<NodeRole>,
    /// Base URL of its API.
    pub api: String,
    /// `host:port` of its validator.
    pub engine_address: String,
    /// Its public keys.
    pub keys: crate::api::principal::Keys,
}

/// A log entry, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryView {
    /// Position in the log.
    pub index: u64,
    /// Height of its block.
    pub height: u64,
    /// Block time.
    pub time: TimestampMs,
    /// Who acted.
    pub principal: PrincipalId,
    /// What was asked; `type` names the action.
    #[schema(value_type = Object)]
    pub action: Action,
    /// What became of it.
    pub outcome: Outcome,
}

/// A log entry and its exact bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryDetail {
    /// The entry, decoded.
    pub entry: EntryView,
    /// The leaf of the log: CBOR of the [`Entry`](crate::command::Entry).
    pub bytes: Binary,
}

/// Proof that one log is a prefix of a later one (RFC 9162, section 2.1.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Consistency {
    /// Entries in the earlier log.
    pub first: u64,
    /// Entries in the later log.
    pub second: u64,
    /// Root of the earlier log.
    pub first_root: Digest,
    /// Root of the later log.
    pub second_root: Digest,
    /// Hashes in the order of the RFC.
    pub path: Vec<Digest>,
}

/// A proposed change of membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProposalView {
    /// The proposal.
    pub proposal: ProposalId,
    /// The change.
    #[schema(value_type = Object)]
    pub change: MembershipChange,
    /// Who approved.
    pub approvals: Vec<OrganisationId>,
    /// Approvals that carry it out.
    pub needed: u32,
    /// When it was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_out: Option<TimestampMs>,
    /// Whether it can still be approved: the membership has not changed since it was made.
    pub open: bool,
}
