//! Public keys as values; what is done with them is the business of `crypto`.

use core::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Length of an ML-DSA-65 public key in bytes (FIPS 204, table 2).
pub const ML_DSA_65_PUBLIC_LEN: usize = 1952;
/// Length of an X-Wing public key in bytes (draft-connolly-cfrg-xwing-kem).
pub const X_WING_PUBLIC_LEN: usize = 1216;

/// The three public keys of a principal: two that verify its signatures, one that others seal to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct PublicKeys {
    /// Ed25519 (RFC 8032), 32 bytes.
    #[cbor(n(0), with = "minicbor::bytes")]
    #[serde(with = "hex::serde")]
    pub ed25519: [u8; 32],
    /// ML-DSA-65 (FIPS 204), 1,952 bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    #[serde(with = "crate::encode::base64url")]
    pub ml_dsa_65: Vec<u8>,
    /// X-Wing (ML-KEM-768 and X25519), 1,216 bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    #[serde(with = "crate::encode::base64url")]
    pub x_wing: Vec<u8>,
}

impl PublicKeys {
    /// Whether every key has its algorithm's length.
    pub fn well_formed(&self) -> bool {
        self.ml_dsa_65.len() == ML_DSA_65_PUBLIC_LEN && self.x_wing.len() == X_WING_PUBLIC_LEN
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PublicKeys({}..)",
            hex::encode(self.ed25519.get(..8).unwrap_or_default())
        )
    }
}
