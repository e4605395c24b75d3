//! Bodies of the HTTP API, one file per noun; what a field means beyond its JSON is said where its
//! type is defined.
//!
//! JSON in snake case. Binary fields are base64url without padding, ids 32 hexadecimal digits,
//! digests 64, times integer milliseconds since 1970. The committed `openapi/salus.json` is generated
//! from these types.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::encode::{from_base64url, to_base64url};

pub mod access;
pub mod account;
pub mod attempt;
pub mod batch;
pub mod command;
pub mod consultation;
pub mod event;
pub mod health;
pub mod ledger;
pub mod me;
pub mod passkey;
pub mod patient;
pub mod principal;
pub mod problem;
pub mod record;
mod schema;
pub mod session;
pub mod statistics;
pub mod training;
pub mod upload;

/// Where every path of the API begins.
pub const BASE_PATH: &str = "/api/v1";
/// Items on a page when the caller does not say.
pub const PAGE_DEFAULT: u32 = 100;
/// Most items on a page.
pub const PAGE_LIMIT: u32 = 500;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// Give this as `after` to get the next page; null on the last.
    pub next: Option<String>,
}

/// Bytes in a JSON body. `Debug` shows their number only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Binary(pub Vec<u8>);

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binary({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Binary {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_base64url(&self.0))
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_base64url(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("not base64url"))
    }
}

/// Hides what it holds from `Debug`: passwords' traces, tokens, logins, people's data.
macro_rules! opaque_debug {
    ($($name:ident)*) => {$(
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
pub(crate) use opaque_debug;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_fields_are_base64url_without_padding_and_stay_out_of_debug() {
        let binary = Binary(vec![0xfb, 0xff, 0xfe, 0x01]);
        assert_eq!(serde_json::to_string(&binary).unwrap(), "\"-__-AQ\"");
        assert_eq!(
            serde_json::from_str::<Binary>("\"-__-AQ\"").unwrap(),
            binary
        );
        assert!(serde_json::from_str::<Binary>("\"+//+AQ==\"").is_err());
        assert_eq!(format!("{binary:?}"), "Binary(4 bytes)");
    }
}
