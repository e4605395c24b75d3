//! The principal behind the session.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::account::Profile;
use crate::api::principal::Standing;
use crate::api::{Binary, opaque_debug};
use crate::ids::{OrganisationId, PrincipalId};
use crate::role::Role;

/// Who the caller is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The principal.
    pub principal: PrincipalId,
    /// Its role.
    pub role: Role,
    /// Its organisation.
    pub organisation: OrganisationId,
    /// Whether it may act.
    pub standing: Standing,
    /// The profile, when the account lives on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// The sequence number for the next command.
    pub next_sequence: u64,
}

/// A new password, recovery code or keys: OPAQUE records and the keyring with its new doors, replaced
/// together.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct PasswordChange {
    /// OPAQUE `RegistrationRecord` of the new password, made after `POST /accounts/registrations` with
    /// the same login; absent to keep the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Binary>,
    /// The same of a new recovery code; absent to keep the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_upload: Option<Binary>,
    /// CBOR of the [`SealedKeyring`](crate::sealed::SealedKeyring) with the new door.
    pub keyring: Binary,
}

opaque_debug!(Me PasswordChange);
