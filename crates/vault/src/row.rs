//! Rows as they stand in SQL, and the small conversions between columns and words of `proto`.

use minicbor::{Decode, Encode};
use salus_proto::encode::to_bytes;
use salus_proto::ids::{AccessId, BatchId, PrincipalId, RecordId};
use salus_proto::record::{KeyClass, RecordAnchor, RecordKind};
use salus_proto::{Digest, TimestampMs};
use salus_runtime::table::{FromRow, Row, Transaction};
use salus_runtime::{from_row, params};

use crate::Error;

/// The number that stands for a value of a plain enum, in columns as in CBOR.
pub(crate) fn code<T: Encode<()>>(value: &T) -> u32 {
    minicbor::decode(&to_bytes(value)).unwrap_or(u32::MAX)
}

/// The value that a number stands for.
pub(crate) fn from_code<T: for<'b> Decode<'b, ()>>(
    code: u32,
    what: &'static str,
) -> Result<T, Error> {
    minicbor::decode(&to_bytes(&code)).map_err(|_| Error::Damaged { what })
}

/// An access in a column: empty for none.
pub(crate) fn access_column(access: Option<AccessId>) -> Vec<u8> {
    access.map_or_else(Vec::new, |access| access.0.to_vec())
}

/// An access out of a column.
pub(crate) fn access_of(column: &[u8]) -> Result<Option<AccessId>, Error> {
    if column.is_empty() {
        return Ok(None);
    }
    let id = column
        .try_into()
        .map_err(|_| Error::Damaged { what: "key wraps" })?;
    Ok(Some(AccessId(id)))
}

/// A row of `vault_record`.
#[derive(Debug, Clone)]
pub(crate) struct RecordRow {
    pub(crate) position: u32,
    pub(crate) record: RecordId,
    pub(crate) version: u32,
    pub(crate) class: u32,
    pub(crate) epoch: u32,
    pub(crate) kind: u32,
    pub(crate) ciphertext: Digest,
    pub(crate) length: u64,
    pub(crate) statement: Option<Digest>,
    pub(crate) key_wrap: Option<Vec<u8>>,
    pub(crate) key_epoch: u32,
}
from_row!(RecordRow {
    position,
    record,
    version,
    class,
    epoch,
    kind,
    ciphertext,
    length,
    statement,
    key_wrap,
    key_epoch,
});

impl RecordRow {
    /// The anchor that the row's fields make.
    pub(crate) fn anchor(&self) -> Result<RecordAnchor, Error> {
        Ok(RecordAnchor {
            record: self.record,
            version: self.version,
            class: from_code::<KeyClass>(self.class, "records")?,
            epoch: self.epoch,
            kind: from_code::<RecordKind>(self.kind, "records")?,
            ciphertext: self.ciphertext,
            length: self.length,
            statement: self.statement,
        })
    }
}

/// A row of `vault_batch`, without its manifest and command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchRow {
    pub(crate) batch: BatchId,
    pub(crate) signer: PrincipalId,
    pub(crate) created: TimestampMs,
    pub(crate) entry: u64,
}

/// A record with its batch, as one row of a join.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub(crate) batch: BatchRow,
    pub(crate) record: RecordRow,
}

impl FromRow for Joined {
    fn from_row(row: &Row) -> salus_runtime::Result<Self> {
        Ok(Self {
            batch: BatchRow {
                batch: row.get("batch")?,
                signer: row.get("signer")?,
                created: row.get("created")?,
                entry: row.get("entry")?,
            },
            record: RecordRow::from_row(row)?,
        })
    }
}

/// The latest anchored version of a record of this alias.
pub(crate) async fn latest(
    tx: &mut Transaction,
    alias: salus_proto::ids::PatientAlias,
    record: RecordId,
) -> salus_runtime::Result<Option<Joined>> {
    tx.optional(
        "SELECT b.batch, b.signer, b.created, b.entry, r.position, r.record, r.version, r.class,
                r.epoch, r.kind, r.ciphertext, r.length, r.statement, r.key_wrap, r.key_epoch
         FROM vault_record r JOIN vault_batch b ON b.batch = r.batch
         WHERE r.record = $1 AND b.alias = $2 AND b.entry IS NOT NULL
         ORDER BY r.version DESC LIMIT 1",
        &params![record, alias],
    )
    .await
}

/// The records of a batch in the order of its anchors tree.
pub(crate) async fn records_of(
    tx: &mut Transaction,
    batch: BatchId,
) -> salus_runtime::Result<Vec<RecordRow>> {
    tx.all(
        "SELECT position, record, version, class, epoch, kind, ciphertext, length, statement,
                key_wrap, key_epoch
         FROM vault_record WHERE batch = $1 ORDER BY position",
        &params![batch],
    )
    .await
}

/// A signed statement.
pub(crate) async fn statement(
    tx: &mut Transaction,
    digest: Digest,
) -> salus_runtime::Result<Option<Vec<u8>>> {
    let found: Option<(Vec<u8>,)> = tx
        .optional(
            "SELECT envelope FROM vault_statement WHERE digest = $1",
            &params![digest],
        )
        .await?;
    Ok(found.map(|(envelope,)| envelope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_kinds_come_back_from_their_numbers() {
        for class in KeyClass::ALL {
            assert_eq!(from_code::<KeyClass>(code(&class), "").unwrap(), class);
        }
        assert_eq!(code(&RecordKind::Other), 16);
        assert_eq!(from_code::<RecordKind>(16, "").unwrap(), RecordKind::Other);
        assert!(from_code::<RecordKind>(18, "").is_err());
        assert!(from_code::<KeyClass>(300, "").is_err());
    }
}
