//! Access to an alias: asked for, decided, ended.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TimestampMs;
use crate::api::{Binary, opaque_debug};
use crate::ids::{AccessId, OrganisationId, PatientAlias, PrincipalId, RecordId};
use crate::record::KeyClass;
use crate::role::{Basis, Purpose, Reason, Role};

/// A request for access and what became of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessView {
    /// The access.
    pub access: AccessId,
    /// Whose records.
    pub alias: PatientAlias,
    /// The hospital that decides.
    pub custodian: OrganisationId,
    /// Who may read.
    pub holder: PrincipalId,
    /// The holder's role.
    pub holder_role: Role,
    /// The patient's clear name, for the custodian's people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which classes.
    pub classes: Vec<KeyClass>,
    /// Only these records; absent means all of the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Vec<RecordId>>,
    /// What for.
    pub purpose: Purpose,
    /// Until when.
    pub until: TimestampMs,
    /// When it was asked for.
    pub requested: TimestampMs,
    /// Where it stands.
    pub status: AccessStatus,
    /// Whether the holder may read now.
    pub open: bool,
}

/// Where a request for access stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum AccessStatus {
    /// Waits for the custodian.
    Requested,
    /// Granted.
    Approved {
        /// Who decided.
        by: PrincipalId,
        /// Rule or person.
        basis: Basis,
        /// When.
        at: TimestampMs,
    },
    /// Not granted.
    Refused {
        /// Who decided.
        by: PrincipalId,
        /// Why.
        reason: Reason,
        /// When.
        at: TimestampMs,
    },
    /// Ended before its time.
    Revoked {
        /// Who ended it.
        by: PrincipalId,
        /// Why.
        reason: Reason,
        /// When.
        at: TimestampMs,
    },
}

/// The first word of an [`AccessStatus`], to filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccessState {
    /// Waits for the custodian.
    Requested,
    /// Granted.
    Approved,
    /// Not granted.
    Refused,
    /// Ended before its time.
    Revoked,
}

impl AccessState {
    /// The word that stands in JSON and in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Revoked => "revoked",
        }
    }
}

/// From which side somebody looks at accesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccessSide {
    /// Accesses that the caller asked for or holds.
    #[default]
    Holder,
    /// Accesses to records that the caller's organisation keeps.
    Custodian,
}

/// Decides a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecisionRequest {
    /// The signed `DecideAccess` command.
    pub command: Binary,
}

opaque_debug!(AccessView);
