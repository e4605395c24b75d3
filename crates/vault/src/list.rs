//! Lists: patients by their clear names, and sealed records by what may be known without a key.

use core::fmt;
use core::str::FromStr;

use salus_proto::TimestampMs;
use salus_proto::ids::{BatchId, OrganisationId, PatientAlias, PrincipalId};
use salus_proto::record::{RecordAnchor, RecordKind};
use salus_runtime::{from_row, params};

use crate::row::{Joined, code};
use crate::{Error, Vault};

/// Most items of one page.
const PAGE_LIMIT: u32 = 500;

/// A patient of whom records are here. `Debug` shows no name.
#[derive(Clone, PartialEq, Eq)]
pub struct Patient {
    /// The alias.
    pub alias: PatientAlias,
    /// Who keeps the records.
    pub custodian: OrganisationId,
    /// The clear name, in the default profile.
    pub name: Option<String>,
    /// Number of anchored records here, every version counted.
    pub records: u64,
}
from_row!(Patient {
    alias,
    custodian,
    name,
    records
});

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patient({}, {} records)", self.alias, self.records)
    }
}

/// Which patients to list.
#[derive(Clone, Debug, Default)]
pub struct PatientFilter {
    /// Part of the name, in any case.
    pub query: Option<String>,
    /// Only those of one organisation.
    pub custodian: Option<OrganisationId>,
}

/// Which sealed records to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordFilter {
    /// Only this kind.
    pub kind: Option<RecordKind>,
}

/// A place in the list of a patient's records. Text form: `ENTRY.POSITION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordCursor {
    /// The log entry that anchored the batch.
    pub entry: u64,
    /// Position in the batch.
    pub position: u32,
}

impl fmt::Display for RecordCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.entry, self.position)
    }
}

impl FromStr for RecordCursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (entry, position) = text.split_once('.')?;
            Some(Self {
                entry: entry.parse().ok().filter(|e| i64::try_from(*e).is_ok())?,
                position: position.parse().ok()?,
            })
        };
        parse().ok_or(Error::NotFound { what: "page" })
    }
}

/// One sealed record in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedItem {
    /// What the world may know of it.
    pub anchor: RecordAnchor,
    /// The epoch of the class key that opens it now; 0 without one.
    pub key_epoch: u32,
    /// The batch that brought it.
    pub batch: BatchId,
    /// Who signed the batch.
    pub signer: PrincipalId,
    /// When, by the signer's clock.
    pub signed: TimestampMs,
    /// The entry that anchored it.
    pub entry: u64,
    /// Its place in the list.
    pub cursor: RecordCursor,
}

impl Vault {
    /// A page of patients, ordered by name (those without one first), after the one given.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the patient to start after is gone; failures of the database.
    pub async fn patients(
        &self,
        filter: &PatientFilter,
        after: Option<PatientAlias>,
        limit: u32,
    ) -> Result<Vec<Patient>, Error> {
        let pattern = like(filter.query.as_deref().unwrap_or_default());
        read!(self.database(), |tx| {
            let start: (String, Vec<u8>) = match after {
                None => (String::new(), Vec::new()),
                Some(after) => tx
                    .optional(
                        "SELECT search, alias FROM vault_patient WHERE alias = $1",
                        &params![after],
                    )
                    .await?
                    .ok_or(Error::NotFound { what: "page" })?,
            };
            let patients = tx
                .all(
                    "SELECT p.alias, p.custodian, p.name,
                                CAST((SELECT COALESCE(SUM(b.records), 0) FROM vault_batch b
                                      WHERE b.alias = p.alias AND b.entry IS NOT NULL) AS BIGINT)
                                AS records
                         FROM vault_patient p
                         WHERE (p.search > $1 OR (p.search = $1 AND p.alias > $2))
                           AND p.search LIKE $3 ESCAPE '!'
                           AND (CAST($4 AS BYTEA) IS NULL OR p.custodian = $4)
                         ORDER BY p.search, p.alias LIMIT $5",
                    &params![
                        start.0,
                        start.1,
                        pattern,
                        filter.custodian,
                        limit.min(PAGE_LIMIT)
                    ],
                )
                .await?;
            Ok(patients)
        })
    }

    /// One patient, if records of theirs are here.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn patient(&self, alias: PatientAlias) -> Result<Option<Patient>, Error> {
        read!(self.database(), |tx| {
            Ok(tx
                .optional(
                    "SELECT p.alias, p.custodian, p.name,
                                CAST((SELECT COALESCE(SUM(b.records), 0) FROM vault_batch b
                                      WHERE b.alias = p.alias AND b.entry IS NOT NULL) AS BIGINT)
                                AS records
                         FROM vault_patient p WHERE p.alias = $1",
                    &params![alias],
                )
                .await?)
        })
    }

    /// A page of a patient's anchored records in the order of the ledger, after the one given.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn records(
        &self,
        alias: PatientAlias,
        filter: RecordFilter,
        after: Option<RecordCursor>,
        limit: u32,
    ) -> Result<Vec<SealedItem>, Error> {
        let (entry, position) = after.map_or((Some(-1), -1), |cursor| {
            let entry = i64::try_from(cursor.entry).ok();
            (entry, i64::from(cursor.position))
        });
        let kind = filter.kind.map_or(-1, |kind| i64::from(code(&kind)));
        let limit = limit.min(PAGE_LIMIT);
        // What is anchored stays where it is in the list, so the two statements need not agree on one
        // moment.
        let mut tx = self.database().glance().await?;
        // Mostly one batch holds the page, and its records lie in order; over several, the database
        // would sort all of each.
        let mut rows: Vec<Joined> = tx
            .all(
                "SELECT b.batch, b.signer, b.created, b.entry, r.position, r.record, r.version,
                        r.class, r.epoch, r.kind, r.ciphertext, r.length, r.statement,
                        r.key_wrap, r.key_epoch
                 FROM vault_batch b JOIN vault_record r ON r.batch = b.batch
                 WHERE b.batch = (SELECT batch FROM vault_batch
                                  WHERE alias = $1 AND entry >= $2 ORDER BY entry LIMIT 1)
                   AND (b.entry > $2 OR r.position > $3)
                   AND ($4 < 0 OR r.kind = $4)
                 ORDER BY r.position LIMIT $5",
                &params![alias, entry, position, kind, limit],
            )
            .await?;
        let found = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        if found < limit {
            let (entry, position) = rows.last().map_or((entry, position), |last| {
                let position = i64::from(last.record.position);
                (i64::try_from(last.batch.entry).ok(), position)
            });
            let rest: Vec<Joined> = tx
                .all(
                    "SELECT b.batch, b.signer, b.created, b.entry, r.position, r.record, r.version,
                            r.class, r.epoch, r.kind, r.ciphertext, r.length, r.statement,
                            r.key_wrap, r.key_epoch
                     FROM vault_batch b JOIN vault_record r ON r.batch = b.batch
                     WHERE b.alias = $1 AND b.entry IS NOT NULL
                       AND (b.entry > $2 OR (b.entry = $2 AND r.position > $3))
                       AND ($4 < 0 OR r.kind = $4)
                     ORDER BY b.entry, r.position LIMIT $5",
                    &params![alias, entry, position, kind, limit - found],
                )
                .await?;
            rows.extend(rest);
        }
        rows.iter().map(Joined::item).collect()
    }
}

impl Joined {
    fn item(&self) -> Result<SealedItem, Error> {
        Ok(SealedItem {
            anchor: self.record.anchor()?,
            key_epoch: self.record.key_epoch,
            batch: self.batch.batch,
            signer: self.batch.signer,
            signed: self.batch.created,
            entry: self.batch.entry,
            cursor: RecordCursor {
                entry: self.batch.entry,
                position: self.record.position,
            },
        })
    }
}

/// A `LIKE` pattern that finds `query` anywhere, in lower case.
fn like(query: &str) -> String {
    let mut pattern = String::from("%");
    for c in query.to_lowercase().chars().filter(|c| *c != '\0') {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_from_their_text() {
        let cursor = RecordCursor {
            entry: 7,
            position: 3,
        };
        assert_eq!(cursor.to_string().parse::<RecordCursor>().unwrap(), cursor);
        for bad in [
            "",
            "7",
            "7.",
            ".3",
            "7.3.1",
            "-1.2",
            "9223372036854775808.0",
        ] {
            assert!(bad.parse::<RecordCursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_search_takes_wildcards_literally() {
        assert_eq!(like("A_b%!"), "%a!_b!%!!%");
    }
}
