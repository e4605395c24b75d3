//! Incidents: stored bytes that were not what was stored, where, and whether they came back.

use core::ops::Range;

use salus_crypto::digest::sha256;
use salus_proto::encode::to_bytes;
use salus_proto::ids::RecordId;
use salus_proto::{Digest, TimestampMs};
use salus_runtime::params;
use salus_runtime::table::{FromRow, Row, Transaction};

use crate::{Error, Vault};

/// Most incidents of one page.
const PAGE_LIMIT: u32 = 500;

/// Stored bytes that were altered or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Its number, from 1; 0 before it is recorded.
    pub incident: u64,
    /// When it was found.
    pub found: TimestampMs,
    /// The blob's digest; of a pack whose own index was altered, the pack's id.
    pub digest: Digest,
    /// The record whose sealed bytes these are.
    pub record: Option<RecordId>,
    /// The stored object.
    pub object: String,
    /// The bytes in it that were wrong: those of the blob, because a digest tells no more.
    pub bytes: Range<u64>,
    /// Whether a replica gave them back.
    pub restored: bool,
}

impl Incident {
    /// The digest under which this incident is reported on the ledger; nothing personal is in it.
    pub fn evidence(&self) -> Digest {
        sha256(&self.evidence_bytes())
    }

    /// What [`Incident::evidence`] is the digest of, for whoever is shown it.
    pub fn evidence_bytes(&self) -> Vec<u8> {
        to_bytes(&(
            self.found,
            self.digest,
            &self.object,
            (self.bytes.start, self.bytes.end),
            self.restored,
        ))
    }
}

impl FromRow for Incident {
    fn from_row(row: &Row) -> salus_runtime::Result<Self> {
        Ok(Self {
            incident: row.get("incident")?,
            found: row.get("found")?,
            digest: row.get("digest")?,
            record: row.get("record")?,
            object: row.get("object")?,
            bytes: row.get("start_byte")?..row.get("end_byte")?,
            restored: row.get("restored")?,
        })
    }
}

impl Vault {
    /// Incidents after the one with this number, oldest first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn incidents(&self, after: u64, limit: u32) -> Result<Vec<Incident>, Error> {
        read!(self.database(), |tx| {
            Ok(tx
                .all(
                    "SELECT * FROM vault_incident WHERE incident > $1
                         ORDER BY incident LIMIT $2",
                    &params![after, limit.min(PAGE_LIMIT)],
                )
                .await?)
        })
    }
}

/// Whether this is not what the last incident of the same blob says already: still not restored.
pub(crate) async fn is_news(tx: &mut Transaction, incident: &Incident) -> Result<bool, Error> {
    let last: Option<(bool,)> = tx
        .optional(
            "SELECT restored FROM vault_incident WHERE digest = $1 AND object = $2
             ORDER BY incident DESC LIMIT 1",
            &params![incident.digest, incident.object],
        )
        .await?;
    Ok(incident.restored || last != Some((false,)))
}

/// Records an incident and numbers it.
pub(crate) async fn record(tx: &mut Transaction, incident: &mut Incident) -> Result<(), Error> {
    let (next,): (u64,) = tx
        .one(
            "incident",
            "SELECT COALESCE(MAX(incident), 0) + 1 FROM vault_incident",
            &[],
        )
        .await?;
    incident.incident = next;
    tx.execute(
        "INSERT INTO vault_incident (incident, found, digest, record, object, start_byte, end_byte,
                                     restored)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &params![
            next,
            incident.found,
            incident.digest,
            incident.record,
            incident.object,
            incident.bytes.start,
            incident.bytes.end,
            incident.restored
        ],
    )
    .await?;
    Ok(())
}
