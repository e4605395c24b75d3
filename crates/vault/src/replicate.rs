//! Replicas: what is still to be sent to which, the bytes to send, and the bytes to give back.

use bytes::Bytes;
use futures_util::Stream;
use salus_proto::Digest;
use salus_proto::encode::to_bytes;
use salus_proto::ids::{BatchId, OrganisationId};
use salus_proto::record::{SealedBatch, SealedRecord};
use salus_runtime::blob::{self, SMALL_MAX};
use salus_runtime::{from_row, params, transact};

use crate::row::{RecordRow, records_of, statement};
use crate::{Error, Vault};

/// Most batches of one look at what is to be sent.
const OUTGOING_LIMIT: u32 = 256;

/// An anchored batch that a replica does not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The batch.
    pub batch: BatchId,
    /// Its place in the order of replication, for [`Vault::replicated`].
    pub place: u64,
}
from_row!(Outgoing { batch, place });

impl Vault {
    /// Anchored batches of this organisation's patients that `replica` does not have yet, in order.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn outgoing(
        &self,
        replica: OrganisationId,
        limit: u32,
    ) -> Result<Vec<Outgoing>, Error> {
        let custodian = self.organisation();
        read!(self.database(), |tx| {
            Ok(tx
                .all(
                    "SELECT b.batch, b.place FROM vault_batch b
                         JOIN vault_patient p ON p.alias = b.alias
                         WHERE p.custodian = $1 AND b.place >
                             COALESCE((SELECT r.place FROM vault_replica r WHERE r.replica = $2), 0)
                         ORDER BY b.place LIMIT $3",
                    &params![custodian, replica, limit.min(OUTGOING_LIMIT)],
                )
                .await?)
        })
    }

    /// Records that `replica` acknowledged every batch up to this place.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn replicated(&self, replica: OrganisationId, place: u64) -> Result<(), Error> {
        transact!(self.database(), "advance a replica", |tx| {
            tx.execute(
                "INSERT INTO vault_replica (replica, place) VALUES ($1, $2)
                     ON CONFLICT (replica) DO UPDATE SET place = excluded.place
                     WHERE excluded.place > vault_replica.place",
                &params![replica, place],
            )
            .await?;
            Ok(())
        })
    }

    /// What a replica gets of an anchored batch: the encoded [`SealedBatch`] without any key wrap,
    /// and the digests and lengths of blobs that are too large for it and are uploaded first.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not anchored here; damaged bytes are not sent on.
    pub async fn replica_batch(
        &self,
        batch: BatchId,
    ) -> Result<(Vec<u8>, Vec<(Digest, u64)>), Error> {
        type Head = (Vec<u8>, Vec<u8>, Option<String>);
        let (head, rows) = read!(self.database(), |tx| {
            let head: Head = tx
                .optional(
                    "SELECT b.manifest, b.command, p.name FROM vault_batch b
                         JOIN vault_patient p ON p.alias = b.alias
                         WHERE b.batch = $1 AND b.entry IS NOT NULL",
                    &params![batch],
                )
                .await?
                .ok_or(Error::NotFound { what: "batch" })?;
            let mut rows = Vec::new();
            for row in records_of(tx, batch).await? {
                let location = blob::index::locate(tx, &row.ciphertext).await?;
                let statement = match row.statement {
                    Some(digest) => statement(tx, digest).await?,
                    None => None,
                };
                let location = location.ok_or(Error::NotFound {
                    what: "sealed bytes",
                })?;
                rows.push((row, location, statement));
            }
            Ok::<_, Error>((head, rows))
        })?;
        let mut large = Vec::new();
        let mut sealed = SealedBatch {
            manifest: head.0,
            anchors: Vec::with_capacity(rows.len()),
            records: Vec::with_capacity(rows.len()),
            class_wraps: Vec::new(),
            record_wraps: Vec::new(),
            name: head.2,
            command: head.1,
        };
        for (row, location, statement) in rows {
            sealed.anchors.push(RecordRow::anchor(&row)?);
            let blob = if location.length > SMALL_MAX as u64 {
                large.push((location.digest, location.length));
                None
            } else {
                Some(self.blobs().get(&location).await?.to_vec())
            };
            sealed.records.push(SealedRecord {
                key_wrap: None,
                statement,
                blob,
            });
        }
        Ok((to_bytes(&sealed), large))
    }

    /// The length of sealed bytes that are stored here, by digest: for custodians and replicas.
    ///
    /// # Errors
    /// [`Error::NotFound`]; failures of the database.
    pub async fn blob_length(&self, digest: Digest) -> Result<u64, Error> {
        Ok(self.locate(digest).await?.length)
    }

    /// Sealed bytes by digest, of any length, checked piece by piece: for recovery by the custodian
    /// and for replication of large blobs.
    ///
    /// # Errors
    /// [`Error::NotFound`]; failures of disk and database, here or in the stream.
    pub async fn blob_stream(
        &self,
        digest: Digest,
    ) -> Result<impl Stream<Item = salus_runtime::Result<Bytes>> + Send + use<>, Error> {
        let location = self.locate(digest).await?;
        Ok(self.blobs().stream(&location).await?)
    }

    async fn locate(&self, digest: Digest) -> Result<blob::Location, Error> {
        read!(self.database(), |tx| {
            blob::index::locate(tx, &digest)
                .await?
                .ok_or(Error::NotFound {
                    what: "sealed bytes",
                })
        })
    }
}
