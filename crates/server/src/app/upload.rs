//! Large sealed blobs, in parts.

use bytes::Bytes;
use salus_policy::{Operation, Relation};
use salus_proto::Digest;
use salus_proto::api::upload::{UploadStart, UploadStatus};
use salus_runtime::blob::UploadId;

use super::{Actor, App};
use crate::problem::{Problem, Result};

/// Reads the name of an upload.
fn upload_id(text: &str) -> Result<UploadId> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| Problem::not_found())?;
    Ok(UploadId(bytes))
}

impl App {
    /// Announces a blob, or says how far it is.
    pub(crate) async fn begin_upload(
        &self,
        actor: &Actor,
        start: UploadStart,
    ) -> Result<UploadStatus> {
        // Only who could ever anchor a record may fill the disk.
        let relations = [Relation::Custodian, Relation::Subject, Relation::Holder];
        if !relations
            .iter()
            .any(|relation| actor.may(Operation::AnchorRecords, *relation))
        {
            return Err(Problem::not_allowed());
        }
        let upload = self
            .vault
            .begin_upload(actor.id, start.digest, start.length)
            .await?;
        Ok(UploadStatus {
            complete: upload.upload.is_none(),
            upload: upload.upload.map(|id| id.to_string()).unwrap_or_default(),
            part_size: upload.part_bytes,
            parts_done: upload.parts,
        })
    }

    /// Stores one part; any order, any number of times.
    pub(crate) async fn put_part(
        &self,
        actor: &Actor,
        upload: &str,
        number: u32,
        bytes: Bytes,
    ) -> Result<()> {
        Ok(self
            .vault
            .put_part(actor.id, upload_id(upload)?, number, bytes)
            .await?)
    }

    /// Makes the parts the blob of a digest.
    pub(crate) async fn complete_upload(
        &self,
        actor: &Actor,
        upload: &str,
        digest: Digest,
    ) -> Result<()> {
        self.vault
            .complete_upload(actor.id, upload_id(upload)?, digest)
            .await?;
        Ok(())
    }
}
