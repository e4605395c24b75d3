//! What proves one record: its anchor, its path to the batch's root, the signed manifest.

use salus_envelope::seal::anchors_tree;
use salus_ledger::InclusionProof;
use salus_proto::ids::{BatchId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::RecordAnchor;
use salus_runtime::params;

use crate::row::{records_of, statement};
use crate::{Error, Vault};

/// The evidence of one record, from its anchor to the entry that anchored its batch. What leads on
/// from there to a certified checkpoint is the ledger's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Whose record.
    pub alias: PatientAlias,
    /// What is anchored.
    pub anchor: RecordAnchor,
    /// From the encoded anchor to the manifest's `anchors_root`.
    pub path: InclusionProof,
    /// The batch.
    pub batch: BatchId,
    /// Who signed it.
    pub signer: PrincipalId,
    /// The signed manifest (COSE_Sign).
    pub manifest: Vec<u8>,
    /// The signed statement about the plaintext (COSE_Sign).
    pub statement: Option<Vec<u8>>,
    /// The entry that anchored the batch.
    pub entry: u64,
}

impl Vault {
    /// The evidence of a record: of this version, or of the latest.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no such record is anchored here; failures of the database.
    pub async fn evidence(
        &self,
        record: RecordId,
        version: Option<u32>,
    ) -> Result<Evidence, Error> {
        read!(self.database(), |tx| {
            let found: Option<(BatchId, PatientAlias, PrincipalId, Vec<u8>, u64, u32)> = tx
                .optional(
                    "SELECT b.batch, b.alias, b.signer, b.manifest, b.entry, r.position
                         FROM vault_record r JOIN vault_batch b ON b.batch = r.batch
                         WHERE r.record = $1 AND b.entry IS NOT NULL
                           AND ($2 = 0 OR r.version = $2)
                         ORDER BY r.version DESC LIMIT 1",
                    &params![record, version.unwrap_or(0)],
                )
                .await?;
            let (batch, alias, signer, manifest, entry, position) =
                found.ok_or(Error::NotFound { what: "record" })?;
            let rows = records_of(tx, batch).await?;
            let anchors = rows.iter().map(|row| row.anchor());
            let anchors: Vec<RecordAnchor> = anchors.collect::<Result<_, _>>()?;
            let damaged = Error::Damaged { what: "records" };
            let anchor = anchors
                .get(usize::try_from(position).unwrap_or(usize::MAX))
                .filter(|anchor| anchor.record == record)
                .cloned();
            let Some(anchor) = anchor else {
                return Err(damaged);
            };
            let path = anchors_tree(&anchors)
                .inclusion(u64::from(position))
                .map_err(|_| damaged)?;
            let statement = match anchor.statement {
                Some(digest) => statement(tx, digest).await?,
                None => None,
            };
            Ok(Evidence {
                alias,
                anchor,
                path,
                batch,
                signer,
                manifest,
                statement,
                entry,
            })
        })
    }
}
