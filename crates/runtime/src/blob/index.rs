//! The table `blob`: where each stored blob lies.

use salus_proto::Digest;

use super::{Location, Place};
use crate::error::Result;
use crate::params;
use crate::table::{FromRow, Row, Transaction};

/// Records where blobs lie, replacing older places: after
/// [`repack`](super::BlobStore::repack), too.
///
/// # Errors
/// Failures of the engine.
pub async fn record(tx: &mut Transaction, locations: &[Location]) -> Result<()> {
    // One statement may not change the same row twice on PostgreSQL.
    let unique: std::collections::BTreeMap<Digest, &Location> = locations
        .iter()
        .map(|location| (location.digest, location))
        .collect();
    let rows = unique.into_values().map(|location| {
        let (pack, offset) = match location.place {
            Place::Pack { pack, offset } => (Some(pack), Some(offset)),
            Place::Large => (None, None),
        };
        params![location.digest, location.length, pack, offset]
    });
    tx.insert_many(
        "INSERT INTO blob (digest, length, pack, pack_offset)",
        rows,
        "ON CONFLICT (digest) DO UPDATE SET
             length = excluded.length, pack = excluded.pack, pack_offset = excluded.pack_offset",
    )
    .await?;
    Ok(())
}

/// Where a blob lies, if it is stored here.
///
/// # Errors
/// Failures of the engine.
pub async fn locate(tx: &mut Transaction, digest: &Digest) -> Result<Option<Location>> {
    let sql = "SELECT digest, length, pack, pack_offset FROM blob WHERE digest = $1";
    tx.optional(sql, &params![digest]).await
}

/// The blobs of one pack that are still wanted, in their order.
///
/// # Errors
/// Failures of the engine.
pub async fn in_pack(tx: &mut Transaction, pack: &Digest) -> Result<Vec<Location>> {
    let sql = "SELECT digest, length, pack, pack_offset FROM blob WHERE pack = $1
               ORDER BY pack_offset, digest";
    tx.all(sql, &params![pack]).await
}

/// Forgets a blob; its object stays until it is deleted or packed anew.
///
/// # Errors
/// Failures of the engine.
pub async fn forget(tx: &mut Transaction, digest: &Digest) -> Result<bool> {
    let forgotten = tx
        .execute("DELETE FROM blob WHERE digest = $1", &params![digest])
        .await?;
    Ok(forgotten == 1)
}

impl FromRow for Location {
    fn from_row(row: &Row) -> Result<Self> {
        let pack: Option<Digest> = row.get("pack")?;
        Ok(Self {
            digest: row.get("digest")?,
            length: row.get("length")?,
            place: match pack {
                Some(pack) => Place::Pack {
                    pack,
                    offset: row.get("pack_offset")?,
                },
                None => Place::Large,
            },
        })
    }
}
