//! Opening the custodian's own records inside its own node: for training and testing models on them,
//! and for counting. Nothing that is opened here is given out.

use salus_envelope::open::{key_wrap_context, open, record_context, record_key};
use salus_proto::ids::{PatientAlias, RecordId};
use salus_proto::record::{Content, RecordKind};
use salus_runtime::blob::{self, Location};
use salus_runtime::params;

use crate::list::{RecordFilter, SealedItem};
use crate::row::code;
use crate::stage::custodian_wraps;
use crate::{Error, Vault, blocking};

/// Largest sealed record that is opened here, bytes.
const SEALED_LIMIT: u64 = 64 << 20;
/// Records listed at once.
const PAGE: u32 = 500;

/// A record, its key under the class key, and where its sealed bytes are.
type Located = (SealedItem, Vec<u8>, Location);

/// A record of the custodian, opened. `Debug` shows no content.
#[derive(Clone)]
pub struct OwnRecord {
    /// The record.
    pub record: RecordId,
    /// What it is.
    pub kind: RecordKind,
    /// The plaintext.
    pub content: Content,
}

impl core::fmt::Debug for OwnRecord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OwnRecord")
            .field("record", &self.record)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// The patients of this organisation with anchored records of one kind, ascending, each with the
    /// entry that anchored the latest of them. Of records that the class keys open.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn own_patients_with(
        &self,
        kind: RecordKind,
    ) -> Result<Vec<(PatientAlias, u64)>, Error> {
        read!(self.database(), |tx| {
            let rows = tx
                .all(
                    "SELECT b.alias, CAST(MAX(b.entry) AS BIGINT)
                         FROM vault_batch b JOIN vault_patient p ON p.alias = b.alias
                         WHERE p.custodian = $1 AND b.entry IS NOT NULL AND EXISTS (
                           SELECT 1 FROM vault_record r
                           WHERE r.batch = b.batch AND r.kind = $2 AND r.key_epoch > 0)
                         GROUP BY b.alias ORDER BY b.alias",
                    &params![self.organisation(), code(&kind)],
                )
                .await?;
            Ok(rows)
        })
    }

    /// The latest versions of a patient's records of one kind that the class keys of this organisation
    /// open, in the order of the ledger. Empty for a patient of another custodian.
    ///
    /// # Errors
    /// [`Error::Envelope`] if a record does not open; failures of disk and database.
    pub async fn open_own(
        &self,
        alias: PatientAlias,
        kind: RecordKind,
    ) -> Result<Vec<OwnRecord>, Error> {
        let mut items: Vec<SealedItem> = Vec::new();
        let mut after = None;
        loop {
            let filter = RecordFilter { kind: Some(kind) };
            let rows = self.records(alias, filter, after, PAGE).await?;
            let full = rows.len() >= PAGE as usize;
            after = rows.last().map(|row| row.cursor);
            for row in rows {
                // A later version stands for the record.
                items.retain(|item| item.anchor.record != row.anchor.record);
                items.push(row);
            }
            if !full {
                break;
            }
        }
        items.retain(|item| item.key_epoch > 0 && item.anchor.length <= SEALED_LIMIT);
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let custodian = self.custodian();
        let found: (Vec<_>, Vec<Located>) = read!(self.database(), |tx| {
            let wraps = custodian_wraps(tx, alias, custodian).await?;
            let mut found = Vec::with_capacity(items.len());
            for item in items {
                let row = crate::row::latest(tx, alias, item.anchor.record).await?;
                let key_wrap = row.and_then(|row| row.record.key_wrap);
                let location = blob::index::locate(tx, &item.anchor.ciphertext).await?;
                if let (Some(key_wrap), Some(location)) = (key_wrap, location) {
                    found.push((item, key_wrap, location));
                }
            }
            Ok::<_, Error>((wraps, found))
        })?;
        let (wraps, found) = found;
        let mut sealed = Vec::with_capacity(found.len());
        for (item, key_wrap, location) in found {
            let bytes = self.blobs().get(&location).await?;
            sealed.push((item, key_wrap, bytes));
        }
        let shared = self.shared.clone();
        blocking(move || {
            let class_keys = shared.class_keys(&wraps)?;
            let mut opened = Vec::with_capacity(sealed.len());
            for (item, key_wrap, bytes) in sealed {
                let anchor = &item.anchor;
                let Some(class_key) = class_keys.get(&(anchor.class, item.key_epoch)) else {
                    continue;
                };
                let wrapped = key_wrap_context(alias, anchor, item.key_epoch);
                let key = record_key(&wrapped, class_key, &key_wrap)?;
                let context = record_context(alias, item.signer, anchor);
                opened.push(OwnRecord {
                    record: anchor.record,
                    kind: anchor.kind,
                    content: open(&context, anchor, &key, &bytes)?,
                });
            }
            Ok(opened)
        })
        .await
    }
}
