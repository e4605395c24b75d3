//! Records released to a reader whose receipt is final.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TimestampMs;
use crate::api::Binary;
use crate::ids::{PrincipalId, RecordId};
use crate::record::KeyClass;

/// Asks for the release of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseRequest {
    /// The signed `ReadRecords` command.
    pub command: Binary,
}

/// What a reader gets once the receipt is final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Release {
    /// The log entry: the receipt. Give it as `receipt` when fetching sealed bytes.
    pub entry: u64,
    /// Until when sealed bytes can be fetched under this receipt.
    pub until: TimestampMs,
    /// The records.
    pub records: Vec<ReleasedRecord>,
    /// Class keys wrapped to the reader.
    pub class_wraps: Vec<ReleasedClassWrap>,
}

/// One released record: what opens and proves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleasedRecord {
    /// The record.
    pub record: RecordId,
    /// CBOR of its [`RecordAnchor`](crate::record::RecordAnchor).
    pub anchor: Binary,
    /// Who signed its batch.
    pub signer: PrincipalId,
    /// The log entry that anchored it.
    pub entry: u64,
    /// The batch's signed manifest (COSE_Sign).
    pub manifest: Binary,
    /// The record key under the class key, if the reader holds the class key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_wrap: Option<Binary>,
    /// The epoch of the class key that `key_wrap` is under; there with it. Later than the anchor's
    /// once an access to the class was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_epoch: Option<u32>,
    /// The record key wrapped to the reader alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_wrap: Option<Binary>,
    /// The signed statement about the plaintext (COSE_Sign).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Binary>,
}

/// A class key wrapped to the reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleasedClassWrap {
    /// Which class.
    pub class: KeyClass,
    /// Which epoch.
    pub epoch: u32,
    /// The HPKE message.
    pub wrap: Binary,
}
