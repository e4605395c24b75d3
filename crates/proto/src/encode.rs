//! Deterministic CBOR in and out: one encoder, one bounded decoder, text forms of binary fields.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::{Decode, Encode};

/// Bytes that are not the deterministic encoding of the expected value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than this kind of value may be.
    #[error("{length} bytes where at most {limit} are allowed")]
    TooLong {
        /// Bytes received.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not the expected structure.
    #[error("not valid CBOR for {what}: {reason}")]
    Structure {
        /// The kind of value that was expected.
        what: &'static str,
        /// The decoder's words; they name positions and types, never content.
        reason: String,
    },
    /// Decodes, but is not the one deterministic encoding of its value.
    #[error("{what} is not in deterministic encoding")]
    NotDeterministic {
        /// The kind of value that was expected.
        what: &'static str,
    },
}

/// Encodes a value; the encoding of a value of ours is always the same bytes.
///
/// # Panics
/// Never: writing CBOR to a `Vec` cannot fail for derived encoders.
pub fn to_bytes<T: Encode<()>>(value: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "a Vec writer is infallible and our encoders are derived"
    )]
    minicbor::to_vec(value).expect("encoding to memory")
}

/// Decodes a value of at most `limit` bytes and refuses whatever is not its deterministic encoding
/// (trailing bytes, unsorted or unknown keys, overlong integers, indefinite lengths).
pub fn from_bytes<'b, T>(bytes: &'b [u8], limit: usize, what: &'static str) -> Result<T, Malformed>
where
    T: Decode<'b, ()> + Encode<()>,
{
    if bytes.len() > limit {
        return Err(Malformed::TooLong {
            length: bytes.len(),
            limit,
        });
    }
    let value: T = minicbor::decode(bytes).map_err(|e| Malformed::Structure {
        what,
        reason: e.to_string(),
    })?;
    if to_bytes(&value) != bytes {
        return Err(Malformed::NotDeterministic { what });
    }
    Ok(value)
}

/// base64url without padding (RFC 4648 section 5), the text form of binary fields in JSON.
pub fn to_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url without padding.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// `#[serde(with = "salus_proto::encode::base64url")]` for byte fields of API bodies.
pub mod base64url {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes bytes as base64url text.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::to_base64url(bytes))
    }

    /// Reads base64url text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::from_base64url(&text).ok_or_else(|| serde::de::Error::custom("not base64url"))
    }
}
