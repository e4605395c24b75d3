//! Principals: people, devices and organisations as the ledger knows them, with names where this node
//! holds the account.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TimestampMs;
use crate::api::account::Profile;
use crate::api::{Binary, opaque_debug};
use crate::ids::{OrganisationId, PrincipalId};
use crate::role::{Reason, Role};

/// Whether a principal may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum Standing {
    /// Waits for a decision.
    Pending,
    /// May act.
    Authorised {
        /// Who decided; absent for founders and organisations.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<PrincipalId>,
        /// When.
        at: TimestampMs,
    },
    /// Was refused.
    Refused {
        /// Who decided.
        by: PrincipalId,
        /// When.
        at: TimestampMs,
        /// Why.
        reason: Reason,
    },
    /// Was shut out.
    Revoked {
        /// Who decided.
        by: PrincipalId,
        /// When.
        at: TimestampMs,
        /// Why.
        reason: Reason,
    },
}

/// The first word of a [`Standing`], to filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StandingStatus {
    /// Waits for a decision.
    Pending,
    /// May act.
    Authorised,
    /// Was refused.
    Refused,
    /// Was shut out.
    Revoked,
}

impl StandingStatus {
    /// The word that stands in JSON and in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Authorised => "authorised",
            Self::Refused => "refused",
            Self::Revoked => "revoked",
        }
    }
}

/// A principal in a list.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrincipalSummary {
    /// The principal.
    pub principal: PrincipalId,
    /// Its role.
    pub role: Role,
    /// Its organisation.
    pub organisation: OrganisationId,
    /// When it registered.
    pub registered: TimestampMs,
    /// Whether it may act.
    pub standing: Standing,
    /// Who the person is, for those who decide and only when the account lives on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// A principal and its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrincipalDetail {
    /// The principal.
    pub principal: PrincipalId,
    /// Its role.
    pub role: Role,
    /// Its organisation.
    pub organisation: OrganisationId,
    /// Whether it may act.
    pub standing: Standing,
    /// Its public keys.
    pub keys: Keys,
}

/// Public keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Keys {
    /// Ed25519, 32 bytes, hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub ed25519: String,
    /// ML-DSA-65, 1,952 bytes.
    pub ml_dsa_65: Binary,
    /// X-Wing, 1,216 bytes.
    pub x_wing: Binary,
}

impl From<crate::keys::PublicKeys> for Keys {
    fn from(keys: crate::keys::PublicKeys) -> Self {
        Self {
            ed25519: hex::encode(keys.ed25519),
            ml_dsa_65: Binary(keys.ml_dsa_65),
            x_wing: Binary(keys.x_wing),
        }
    }
}

/// An authorised doctor, for those who look for one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Doctor {
    /// The doctor.
    pub principal: PrincipalId,
    /// Full name; absent when the account lives on another node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Specialty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specialty: Option<String>,
    /// Where the doctor works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hospital: Option<String>,
    /// The organisation that holds the account.
    pub organisation: OrganisationId,
}

opaque_debug!(PrincipalSummary Doctor);
