//! Large sealed blobs in parts, resumable after any crash of either side.

use bytes::Bytes;
use salus_proto::ids::PrincipalId;
use salus_proto::{Digest, TimestampMs};
use salus_runtime::blob::{self, PART_BYTES, PARTS_MAX, UploadId};
use salus_runtime::table::Transaction;
use salus_runtime::{from_row, params, transact};

use crate::{Error, Vault};

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Names the upload; absent when the blob is here already and nothing needs to be sent.
    pub upload: Option<UploadId>,
    /// Bytes of every part but the last.
    pub part_bytes: u64,
    /// Numbers of the parts that are here, from 0, ascending.
    pub parts: Vec<u32>,
}

struct Row {
    upload: UploadId,
    length: u64,
}
from_row!(Row { upload, length });

impl Row {
    fn parts(&self) -> u64 {
        self.length.div_ceil(PART_BYTES as u64).max(1)
    }

    fn part_length(&self, number: u32) -> Option<u64> {
        let begin = u64::from(number).checked_mul(PART_BYTES as u64)?;
        let rest = self.length.checked_sub(begin)?;
        let exists = u64::from(number) < self.parts();
        exists.then_some(rest.min(PART_BYTES as u64))
    }
}

impl Vault {
    /// Begins the upload of a blob, or takes up the one that `owner` began for the same digest.
    /// Without a digest each call begins another upload, which only its number finds again.
    ///
    /// # Errors
    /// [`Error::Part`] for a blob longer than the store takes, or of another length than began;
    /// failures of the database.
    pub async fn begin_upload(
        &self,
        owner: PrincipalId,
        digest: Option<Digest>,
        length: u64,
    ) -> Result<Upload, Error> {
        if length.div_ceil(PART_BYTES as u64) > PARTS_MAX as u64 {
            return Err(Error::Part {
                reason: "the blob has more parts than the store takes",
            });
        }
        let (fresh, unknown) = self.shared.with_entropy(|entropy| {
            let mut unknown = Digest::default();
            entropy.fill(&mut unknown.0);
            (UploadId::random(entropy), unknown)
        });
        let now = self.shared.clock.now();
        transact!(self.database(), "begin an upload", |tx| {
            // A random digest is that of no blob: it stands where the digest is not known yet.
            let announced = digest.unwrap_or(unknown);
            if blob::index::locate(tx, &announced).await?.is_some() {
                return Ok(Upload {
                    upload: None,
                    part_bytes: PART_BYTES as u64,
                    parts: Vec::new(),
                });
            }
            tx.execute(
                "INSERT INTO vault_upload (upload, digest, length, owner, started)
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (owner, digest) DO NOTHING",
                &params![fresh, announced, length, owner, now],
            )
            .await?;
            let row: Row = tx
                .one(
                    "upload",
                    "SELECT upload, length FROM vault_upload
                         WHERE owner = $1 AND digest = $2",
                    &params![owner, announced],
                )
                .await?;
            if row.length != length {
                return Err(Error::Part {
                    reason: "the blob was announced with another length",
                });
            }
            Ok(Upload {
                upload: Some(row.upload),
                part_bytes: PART_BYTES as u64,
                parts: parts(tx, row.upload).await?,
            })
        })
    }

    /// Stores one part durably. Parts come in any order and any number of times.
    ///
    /// # Errors
    /// [`Error::NotFound`] if `owner` has no such upload; [`Error::Part`] if the number or the length
    /// does not fit; failures of disk and database.
    pub async fn put_part(
        &self,
        owner: PrincipalId,
        upload: UploadId,
        number: u32,
        bytes: Bytes,
    ) -> Result<(), Error> {
        let row = self.upload_row(owner, upload).await?;
        if row.part_length(number) != Some(bytes.len() as u64) {
            return Err(Error::Part {
                reason: "no such part, or another length than it must have",
            });
        }
        let digest = self.blobs().add_part(upload, bytes).await?;
        transact!(self.database(), "record a part", |tx| {
            tx.execute(
                "INSERT INTO vault_upload_part (upload, number, digest) VALUES ($1, $2, $3)
                     ON CONFLICT (upload, number) DO UPDATE SET digest = excluded.digest",
                &params![upload, number, digest],
            )
            .await?;
            Ok(())
        })
    }

    /// Makes the stored parts the blob of this digest, after hashing all of it again.
    ///
    /// # Errors
    /// [`Error::NotFound`] if `owner` has no such upload; [`Error::Part`] if parts are missing;
    /// [`salus_runtime::Error::WrongDigest`] if the parts are not that blob.
    pub async fn complete_upload(
        &self,
        owner: PrincipalId,
        upload: UploadId,
        digest: Digest,
    ) -> Result<(), Error> {
        let row = self.upload_row(owner, upload).await?;
        let order: Vec<(Digest,)> = read!(self.database(), |tx| {
            tx.all(
                "SELECT digest FROM vault_upload_part WHERE upload = $1 ORDER BY number",
                &params![upload],
            )
            .await
        })?;
        if order.len() as u64 != row.parts() {
            return Err(Error::Part {
                reason: "parts are missing",
            });
        }
        let order: Vec<Digest> = order.into_iter().map(|(digest,)| digest).collect();
        let location = self.blobs().complete(upload, digest, &order).await?;
        transact!(self.database(), "complete an upload", |tx| {
            blob::index::record(tx, &[location]).await?;
            tx.execute(
                "DELETE FROM vault_upload WHERE upload = $1",
                &params![upload],
            )
            .await?;
            Ok::<_, Error>(())
        })
    }

    /// Gives up uploads that began before `before` and were never completed. Returns their number.
    ///
    /// # Errors
    /// Failures of disk and database.
    pub async fn drop_uploads(&self, before: TimestampMs) -> Result<usize, Error> {
        let stale: Vec<(UploadId,)> = read!(self.database(), |tx| {
            tx.all(
                "SELECT upload FROM vault_upload WHERE started < $1 LIMIT 1000",
                &params![before],
            )
            .await
        })?;
        for (upload,) in &stale {
            self.blobs().abort(*upload).await?;
            transact!(self.database(), "drop an upload", |tx| {
                tx.execute(
                    "DELETE FROM vault_upload WHERE upload = $1",
                    &params![upload],
                )
                .await
            })?;
        }
        Ok(stale.len())
    }

    async fn upload_row(&self, owner: PrincipalId, upload: UploadId) -> Result<Row, Error> {
        read!(self.database(), |tx| {
            tx.optional(
                "SELECT upload, length FROM vault_upload
                     WHERE upload = $1 AND owner = $2",
                &params![upload, owner],
            )
            .await?
            .ok_or(Error::NotFound { what: "upload" })
        })
    }
}

async fn parts(tx: &mut Transaction, upload: UploadId) -> Result<Vec<u32>, Error> {
    let parts: Vec<(u32,)> = tx
        .all(
            "SELECT number FROM vault_upload_part WHERE upload = $1 ORDER BY number",
            &params![upload],
        )
        .await?;
    Ok(parts.into_iter().map(|(number,)| number).collect())
}
