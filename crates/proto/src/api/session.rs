//! Sessions: opened with a password (OPAQUE) or with a key that the ledger knows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TimestampMs;
use crate::api::{Binary, opaque_debug};
use crate::ids::PrincipalId;
use crate::sealed::DoorKind;

/// First step of logging in with a password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct PasswordStart {
    /// The login.
    pub login: String,
    /// What the caller has: `password`, when absent, or `recovery-code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<Door>,
    /// OPAQUE `CredentialRequest` (KE1).
    pub request: Binary,
}

/// Answer to the first step; the same for a login that does not exist.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasswordStarted {
    /// Give this back with the second step, within a minute.
    pub handshake: Binary,
    /// OPAQUE `CredentialResponse` (KE2).
    pub response: Binary,
}

/// Second step of logging in with a password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct PasswordFinish {
    /// From the first step.
    pub handshake: Binary,
    /// OPAQUE `CredentialFinalization` (KE3).
    pub finalization: Binary,
}

/// A session opened with a password, with what opens the account's keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasswordSession {
    /// Bearer token, 32 random bytes; also set as the cookie `__Host-salus`.
    pub token: Binary,
    /// When it ends at the latest; idle sessions end earlier.
    pub expires: TimestampMs,
    /// Whose session it is.
    pub principal: PrincipalId,
    /// CBOR of the [`SealedKeyring`](crate::sealed::SealedKeyring).
    pub keyring: Binary,
    /// Which doors the keyring has.
    pub doors: Vec<Door>,
}

/// One way into an account's keyring, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// The password.
    Password,
    /// A printed recovery code.
    RecoveryCode,
    /// A passkey.
    Passkey,
}

impl From<DoorKind> for Door {
    fn from(kind: DoorKind) -> Self {
        match kind {
            DoorKind::Password => Self::Password,
            DoorKind::RecoveryCode => Self::RecoveryCode,
            DoorKind::Passkey => Self::Passkey,
        }
    }
}

/// Asks for a challenge to sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChallengeRequest {
    /// Who wants to open a session; need not exist.
    pub principal: PrincipalId,
}

/// A challenge, good for one minute and one use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Challenge {
    /// 32 random bytes.
    pub challenge: Binary,
}

/// Opens a session with a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyLogin {
    /// Who.
    pub principal: PrincipalId,
    /// The challenge.
    pub challenge: Binary,
    /// Ed25519 signature under the label `salus/v1/session` over the challenge and the 16 bytes of
    /// this node's organisation id.
    pub signature: Binary,
}

/// A session opened with a key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeySession {
    /// Bearer token, 32 random bytes.
    pub token: Binary,
    /// When it ends at the latest; idle sessions end earlier.
    pub expires: TimestampMs,
}

opaque_debug!(PasswordStart PasswordStarted PasswordFinish PasswordSession KeySession);
