//! Member organisations, the genesis file, and changes of membership.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::TimestampMs;
use crate::ids::{ConsortiumId, OrganisationId, PrincipalId};
use crate::keys::PublicKeys;
use crate::role::{NodeRole, Role};

/// Largest genesis file, in bytes.
pub const GENESIS_LIMIT: usize = 1 << 20;
/// Most members a consortium may have.
pub const MEMBERS_LIMIT: usize = 50;
/// Longest name of an organisation, and longest address, in bytes.
pub const TEXT_LIMIT: usize = 200;

/// One member organisation and how to reach its node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Member {
    /// The organisation; it also acts as the principal of the same bytes with [`Role::Organisation`].
    #[n(0)]
    pub organisation: OrganisationId,
    /// The name that people know it by.
    #[n(1)]
    pub name: String,
    /// What its node is for, ascending, at least one.
    #[n(2)]
    pub roles: Vec<NodeRole>,
    /// Keys that sign its commands, manifests and checkpoints, and that records are sealed to.
    #[n(3)]
    pub keys: PublicKeys,
    /// Ed25519 key of its validator in the consensus engine.
    #[cbor(n(4), with = "minicbor::bytes")]
    #[serde(with = "hex::serde")]
    pub engine_key: [u8; 32],
    /// `host:port` on which its validator listens.
    #[n(5)]
    pub engine_address: String,
    /// Base URL of its API, for example `https://north.example:8443`.
    #[n(6)]
    pub api: String,
}

impl Member {
    /// The organisation as a principal.
    pub fn principal(&self) -> PrincipalId {
        PrincipalId(self.organisation.0)
    }
}

/// What an organisation hands to the members that are to vote on it, as a file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MemberCard {
    /// The member that it is to be.
    #[n(0)]
    pub member: Member,
    /// The authorities that its TLS certificate is checked with, PEM; absent where the members have
    /// them already.
    #[n(1)]
    pub authority: Option<String>,
}

/// Largest member card, in bytes.
pub const CARD_LIMIT: usize = 64 << 10;

/// A principal that a genesis file authorises from the start, so that somebody can authorise others.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Founder {
    /// The principal.
    #[n(0)]
    pub principal: PrincipalId,
    /// Its role.
    #[n(1)]
    pub role: Role,
    /// Its organisation.
    #[n(2)]
    pub organisation: OrganisationId,
    /// Its keys.
    #[n(3)]
    pub keys: PublicKeys,
}

/// The first state of a consortium. Its digest is what everybody pins and every proof starts from.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Genesis {
    /// Format version, 1.
    #[n(0)]
    pub version: u32,
    /// The replay domain of every command.
    #[n(1)]
    pub consortium: ConsortiumId,
    /// The name that people know it by; also the origin line of checkpoints (`salus/<name>`).
    #[n(2)]
    pub name: String,
    /// When it was founded.
    #[n(3)]
    pub created: TimestampMs,
    /// The founding members, ascending by organisation id.
    #[n(4)]
    pub members: Vec<Member>,
    /// Principals authorised from the start, ascending by id.
    #[n(5)]
    pub founders: Vec<Founder>,
}

impl Genesis {
    /// The origin line of this consortium's checkpoints.
    pub fn origin(&self) -> String {
        format!("salus/{}", self.name)
    }
}

/// Members needed to finalise, to certify a checkpoint and to change the membership:
/// `n - floor((n - 1) / 3)`.
pub fn quorum(members: usize) -> usize {
    members - members.saturating_sub(1) / 3
}

/// A change of membership; takes effect once a quorum of the members approved it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MembershipChange {
    /// A new organisation joins.
    #[n(0)]
    Join(#[n(0)] Member),
    /// A member leaves in good standing.
    #[n(1)]
    Leave(#[n(0)] OrganisationId),
    /// A member's keys, address or roles are replaced; the organisation stays the same.
    #[n(2)]
    Replace(#[n(0)] Member),
    /// A member is expelled and its keys revoked at once.
    #[n(3)]
    Revoke(#[n(0)] OrganisationId),
}

#[cfg(test)]
mod tests {
    use super::quorum;

    #[test]
    fn a_quorum_outvotes_the_faults_it_tolerates() {
        let expected = [
            (1, 1),
            (2, 2),
            (3, 3),
            (4, 3),
            (5, 4),
            (6, 5),
            (7, 5),
            (10, 7),
            (50, 34),
        ];
        for (members, needed) in expected {
            assert_eq!(quorum(members), needed, "{members} members");
        }
    }
}
