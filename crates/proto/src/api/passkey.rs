//! Passkeys: adding, listing and removing them, and logging in with one (W3C Web Authentication).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TimestampMs;
use crate::api::{Binary, opaque_debug};
use crate::ids::PrincipalId;

/// Longest name of a passkey, in bytes.
pub const PASSKEY_NAME_LIMIT: usize = 64;
/// Most passkeys of one account.
pub const PASSKEYS_LIMIT: usize = 16;

/// What a page hands to the browser to add a passkey or to log in with one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasskeyChallenge {
    /// 32 random bytes, good for five minutes and one use.
    pub challenge: Binary,
    /// The relying party's id: this node's host name.
    pub relying_party: String,
    /// Where pages must come from for their answers to be taken.
    pub origin: String,
    /// COSE numbers of the algorithms that are taken, the preferred one first.
    pub algorithms: Vec<i64>,
    /// Credentials that the account has already; empty when logging in.
    pub credentials: Vec<Binary>,
}

/// A new passkey. Results of extensions stay in the page: one of them opens the keyring.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct NewPasskey {
    /// How the person calls it.
    pub name: String,
    /// `clientDataJSON` of the browser's answer.
    pub client_data: Binary,
    /// The authenticator data of the browser's answer.
    pub authenticator_data: Binary,
    /// CBOR of the [`SealedKeyring`](crate::sealed::SealedKeyring) as it is stored, with one more
    /// door: this passkey's. Absent where the authenticator has no PRF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<Binary>,
}

/// One passkey of the caller's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passkey {
    /// The credential id.
    pub credential: Binary,
    /// How the person calls it.
    pub name: String,
    /// When it was added.
    pub created: TimestampMs,
    /// When it opened a session last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<TimestampMs>,
    /// Whether the keyring has a door for it: only then does it open records.
    pub opens_keyring: bool,
}

/// The caller's passkeys, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passkeys {
    /// At most [`PASSKEYS_LIMIT`].
    pub items: Vec<Passkey>,
}

/// The caller's keyring as it is stored.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct StoredKeyring {
    /// CBOR of the [`SealedKeyring`](crate::sealed::SealedKeyring).
    pub keyring: Binary,
}

/// Opens a session with a passkey.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct PasskeyLogin {
    /// The credential id.
    pub credential: Binary,
    /// `clientDataJSON` of the browser's answer.
    pub client_data: Binary,
    /// The authenticator data of the browser's answer.
    pub authenticator_data: Binary,
    /// The authenticator's signature over both.
    pub signature: Binary,
    /// The user handle: the principal's id.
    pub user_handle: Binary,
}

/// A session opened with a passkey, with what may open the account's keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasskeySession {
    /// Bearer token, 32 random bytes; also set as the cookie `__Host-salus`.
    pub token: Binary,
    /// When it ends at the latest; idle sessions end earlier.
    pub expires: TimestampMs,
    /// Whose session it is.
    pub principal: PrincipalId,
    /// The account's login.
    pub login: String,
    /// CBOR of the [`SealedKeyring`](crate::sealed::SealedKeyring).
    pub keyring: Binary,
}

opaque_debug!(NewPasskey StoredKeyring PasskeyLogin PasskeySession);
