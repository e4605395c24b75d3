//! Uploads: large sealed blobs in parts, resumable.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Digest;

/// Bytes of every part but the last.
pub const PART_SIZE: u64 = 8 << 20;
/// Largest blob, in bytes.
pub const UPLOAD_LIMIT: u64 = 16 << 30;

/// Announces a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadStart {
    /// SHA-256 of the sealed bytes, by which an interrupted upload is found again. Absent where the
    /// sender seals while it sends: it knows the digest only at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Their number.
    pub length: u64,
}

/// Ends an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadEnd {
    /// SHA-256 of the sealed bytes.
    pub digest: Digest,
}

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadStatus {
    /// Names the upload in later requests.
    pub upload: String,
    /// Bytes of every part but the last.
    pub part_size: u64,
    /// Numbers of the parts that are there, from 0, ascending.
    pub parts_done: Vec<u32>,
    /// Whether the blob is complete and verified.
    pub complete: bool,
}
