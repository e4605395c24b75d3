//! Accounts: registering with a password that the node never sees (OPAQUE, RFC 9807).

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::session::Door;
use crate::api::{Binary, opaque_debug};
use crate::ids::PrincipalId;
use crate::role::Role;

/// Longest login, in bytes.
pub const LOGIN_LIMIT: usize = 128;
/// Longest field of a profile, in bytes.
pub const PROFILE_FIELD_LIMIT: usize = 400;

/// First step of registering, and of changing a password or a recovery code.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct RegistrationStart {
    /// The name to log in with; compared without regard to case and surrounding space.
    pub login: String,
    /// What will open the account: `password`, when absent, or `recovery-code`, whose text (upper
    /// case, groups of four with hyphens) takes the place of the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<Door>,
    /// OPAQUE `RegistrationRequest`.
    pub request: Binary,
}

/// Answer to the first step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistrationStarted {
    /// OPAQUE `RegistrationResponse`.
    pub response: Binary,
}

/// Second step of registering.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct NewAccount {
    /// The login of the first step.
    pub login: String,
    /// OPAQUE `RegistrationRecord`.
    pub upload: Binary,
    /// OPAQUE `RegistrationRecord` of the recovery code; without it the code opens no session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_upload: Option<Binary>,
    /// CBOR of the [`SealedKeyring`](crate::sealed::SealedKeyring), its doors within.
    pub keyring: Binary,
    /// The role asked for, as in the command.
    pub role: Role,
    /// Who the person is; stays on this node.
    pub profile: Profile,
    /// 32 random bytes: the ledger holds the salted commitment to the profile's deterministic CBOR
    /// (HMAC-SHA-256, label `salus/v1/commitment`).
    pub profile_salt: Binary,
    /// The signed `Register` command.
    pub command: Binary,
}

/// A registered account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountCreated {
    /// The principal, pending until an operator decides.
    pub principal: PrincipalId,
    /// The log entry that registered it.
    pub entry: u64,
}

/// Who a person is. Lives on the account's node, never on the ledger.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[cbor(map)]
pub struct Profile {
    /// Full name, 1 to 400 bytes.
    #[n(0)]
    pub name: String,
    /// A doctor's specialty.
    #[n(1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specialty: Option<String>,
    /// Where a doctor or staff works.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hospital: Option<String>,
    /// Licence number.
    #[n(3)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Telephone.
    #[n(4)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// E-mail.
    #[n(5)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Postal address.
    #[n(6)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Profile {
    /// JSON pointers of the fields that are empty where they may not be, too long, or hold control
    /// characters.
    pub fn faults(&self) -> Vec<&'static str> {
        let optional = [
            ("/specialty", &self.specialty),
            ("/hospital", &self.hospital),
            ("/licence", &self.licence),
            ("/phone", &self.phone),
            ("/email", &self.email),
            ("/address", &self.address),
        ];
        let named = [("/name", Some(&self.name))];
        named
            .into_iter()
            .chain(
                optional
                    .into_iter()
                    .map(|(pointer, field)| (pointer, field.as_ref())),
            )
            .filter_map(|(pointer, field)| {
                let field = field?;
                let multiline = pointer == "/address";
                let control = field
                    .chars()
                    .any(|c| c.is_control() && !(multiline && c == '\n'));
                let bad = field.trim().is_empty() || field.len() > PROFILE_FIELD_LIMIT || control;
                bad.then_some(pointer)
            })
            .collect()
    }
}

opaque_debug!(RegistrationStart NewAccount Profile);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::to_bytes;

    fn profile() -> Profile {
        Profile {
            name: "Ada Doe".into(),
            specialty: None,
            hospital: Some("North".into()),
            licence: None,
            phone: None,
            email: None,
            address: Some("1 Road\nTown".into()),
        }
    }

    #[test]
    fn a_profile_has_one_encoding_because_the_ledger_commits_to_it() {
        let expected = "a3006741646120446f6502654e6f727468066b3120526f61640a546f776e";
        assert_eq!(hex::encode(to_bytes(&profile())), expected);
    }

    #[test]
    fn faulty_fields_are_named_and_their_content_is_not() {
        assert!(profile().faults().is_empty());
        let bad = Profile {
            name: " ".into(),
            phone: Some("1\u{7}".into()),
            ..profile()
        };
        assert_eq!(bad.faults(), ["/name", "/phone"]);
        assert_eq!(format!("{bad:?}"), "Profile(..)");
    }
}
