//! Uploads: a sealed batch in one request, large sealed blobs beforehand and in parts.

use bytes::Bytes;
use salus_envelope::seal::detach_blobs;
use salus_proto::Digest;
use salus_proto::api::batch::BatchAccepted;
use salus_proto::api::upload::{UploadEnd, UploadStart, UploadStatus};
use salus_proto::encode::to_bytes;
use salus_proto::record::SealedBatch;

use crate::error::Result;
use crate::person::Person;

/// Blobs beyond this many bytes do not travel within their batch.
const WITHIN_BATCH: usize = 4 << 20;

impl Person {
    /// Uploads a sealed batch and waits until it is anchored. Large blobs go first, in parts; parts
    /// that the node has from an interrupted upload are not sent again.
    pub async fn upload(&self, mut batch: SealedBatch) -> Result<BatchAccepted> {
        for (digest, bytes) in detach_blobs(&mut batch, WITHIN_BATCH) {
            self.upload_blob(digest, bytes.into()).await?;
        }
        self.node()
            .post_cbor("/batches", to_bytes(&batch).into())
            .await
    }

    /// Uploads one sealed blob in parts.
    pub async fn upload_blob(&self, digest: Digest, bytes: Bytes) -> Result<()> {
        let start = UploadStart {
            digest: Some(digest),
            length: bytes.len() as u64,
        };
        let status: UploadStatus = self.node().post("/uploads", &start).await?;
        if status.complete {
            return Ok(());
        }
        let part = usize::try_from(status.part_size)
            .unwrap_or(usize::MAX)
            .max(1);
        for (number, from) in (0_u32..).zip((0..bytes.len()).step_by(part)) {
            if !status.parts_done.contains(&number) {
                let to = from.saturating_add(part).min(bytes.len());
                let path = format!("/uploads/{}/parts/{number}", status.upload);
                self.node().put(&path, bytes.slice(from..to)).await?;
            }
        }
        self.node()
            .post_done(
                &format!("/uploads/{}/complete", status.upload),
                &UploadEnd { digest },
            )
            .await
    }
}
