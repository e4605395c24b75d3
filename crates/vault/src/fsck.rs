//! The whole store re-verified, values included: every row against the ledger, every key, every blob.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use salus_contract::table::{Batches, Patients, batches, get};
use salus_crypto::Secret;
use salus_crypto::digest::sha256;
use salus_crypto::hybrid::Signed;
use salus_envelope::open::{key_wrap_context, record_key};
use salus_envelope::seal::anchors_root;
use salus_proto::encode::from_bytes;
use salus_proto::ids::{BatchId, OrganisationId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::{KeyClass, MANIFEST_LIMIT, Manifest, RecordAnchor};
use salus_proto::{Digest, TimestampMs};
use salus_runtime::blob::{self, ObjectName};
use salus_runtime::{from_row, params};

use crate::row::{RecordRow, records_of, statement};
use crate::stage::custodian_wraps;
use crate::{Error, Vault};

/// Batches looked up at a time.
const STEP: u32 = 256;

/// Something that is wrong, named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The database itself is damaged.
    Database {
        /// The engine's words.
        detail: String,
    },
    /// A batch is not the one that the ledger anchored, or not at that entry.
    Batch {
        /// The batch.
        batch: BatchId,
        /// What differs.
        what: &'static str,
    },
    /// A record's row, statement or key is wrong.
    Record {
        /// The record.
        record: RecordId,
        /// What is wrong.
        what: &'static str,
    },
    /// A record's sealed bytes are altered or missing.
    Sealed {
        /// The record.
        record: RecordId,
        /// The object that should hold them.
        object: String,
    },
    /// A stored object is damaged beyond its blobs, or holds blobs that belong to no record.
    Object {
        /// The object.
        object: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// What a check of the whole store looked at, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Anchored batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Stored objects that were read again.
    pub objects: u64,
    /// What is wrong; empty for a sound store.
    pub findings: Vec<Finding>,
}

impl Finding {
    /// What is wrong, by name.
    pub fn thing(&self) -> String {
        match self {
            Self::Database { .. } => "the database".into(),
            Self::Batch { batch, .. } => format!("batch {batch}"),
            Self::Record { record, .. } | Self::Sealed { record, .. } => {
                format!("record {record}")
            }
            Self::Object { object, .. } => object.clone(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database { detail } => write!(f, "database: {detail}"),
            Self::Batch { batch, what } => write!(f, "batch {batch}: {what}"),
            Self::Record { record, what } => write!(f, "record {record}: {what}"),
            Self::Sealed { record, object } => write!(
                f,
                "record {record}: its sealed bytes in {object} are altered or missing"
            ),
            Self::Object { object, what } => write!(f, "{object}: {what}"),
        }
    }
}

struct Head {
    batch: BatchId,
    alias: PatientAlias,
    custodian: OrganisationId,
    signer: PrincipalId,
    created: TimestampMs,
    records: u64,
    anchors_root: Digest,
    manifest: Vec<u8>,
    entry: u64,
}
from_row!(Head {
    batch,
    alias,
    custodian,
    signer,
    created,
    records,
    anchors_root,
    manifest,
    entry
});

/// The ledger's state in memory, as its log leads to it.
type State = BTreeMap<Vec<u8>, Vec<u8>>;

impl Vault {
    /// Re-verifies everything here against the ledger's state and names what is wrong: the database's
    /// structure, every anchored batch and record, batches that the ledger has and the tables do not,
    /// every key wrap of this organisation's patients, every stored object.
    ///
    /// # Errors
    /// Failures of disk and database other than damage.
    pub async fn fsck(&self, state: &State) -> Result<Report, Error> {
        let mut report = self.fsck_bytes().await?;
        let mut after = Vec::new();
        let mut seen = BTreeSet::new();
        loop {
            let heads: Vec<Head> = read!(self.database(), |tx| {
                tx.all(
                    "SELECT b.batch, b.alias, p.custodian, b.signer, b.created, b.records,
                                b.anchors_root, b.manifest, b.entry
                         FROM vault_batch b JOIN vault_patient p ON p.alias = b.alias
                         WHERE b.entry IS NOT NULL AND b.batch > $1
                         ORDER BY b.batch LIMIT $2",
                    &params![after, STEP],
                )
                .await
            })?;
            let Some(last) = heads.last() else {
                break;
            };
            after = last.batch.0.to_vec();
            for head in heads {
                seen.insert(head.batch);
                report.batches += 1;
                report.records += head.records;
                self.verify_batch(&head, state, &mut report.findings)
                    .await?;
            }
        }
        self.verify_complete(state, &seen, &mut report.findings)
            .await?;
        Ok(report)
    }

    /// Re-verifies what can be verified without the ledger: the database's structure and every
    /// stored object.
    ///
    /// # Errors
    /// As [`Vault::fsck`].
    pub async fn fsck_bytes(&self) -> Result<Report, Error> {
        let mut report = Report::default();
        match self.database().verify().await {
            Ok(()) => {}
            Err(salus_runtime::Error::Corrupt { detail, .. }) => {
                report.findings.push(Finding::Database { detail });
            }
            Err(error) => return Err(error.into()),
        }
        let mut after = None;
        while let Some(object) = self.next_object(after).await? {
            self.verify_object(object, &mut report.findings).await?;
            report.objects += 1;
            after = Some(object);
        }
        Ok(report)
    }

    /// That the tables have every batch that the ledger has of this organisation's patients. One
    /// that is only staged here counts as had: the node finishes it when it starts.
    async fn verify_complete(
        &self,
        state: &State,
        seen: &BTreeSet<BatchId>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        for (batch, anchored) in batches(state).filter(|(batch, _)| !seen.contains(batch)) {
            let ours = get::<Patients>(state, &anchored.alias)
                .is_some_and(|patient| patient.custodian == self.organisation());
            if !ours {
                continue;
            }
            let staged: Option<(i64,)> = read!(self.database(), |tx| {
                tx.optional(
                    "SELECT 1 FROM vault_batch WHERE batch = $1 AND entry IS NULL",
                    &params![batch],
                )
                .await
            })?;
            if staged.is_none() {
                findings.push(Finding::Batch {
                    batch,
                    what: "the ledger has it and the tables do not",
                });
            }
        }
        Ok(())
    }

    async fn verify_batch(
        &self,
        head: &Head,
        state: &State,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let batch = head.batch;
        let mut wrong = |what| findings.push(Finding::Batch { batch, what });
        match get::<Batches>(state, &batch) {
            None => wrong("the ledger does not have it"),
            Some(anchored) => {
                if anchored.manifest != sha256(&head.manifest) {
                    wrong("its manifest is not the one on the ledger");
                }
                if (anchored.entry, anchored.alias) != (head.entry, head.alias) {
                    wrong("its entry or alias is not the one on the ledger");
                }
                if anchored.signer != head.signer || !created(head) {
                    wrong("its signer or time is not the one that was signed");
                }
                let patient = get::<Patients>(state, &anchored.alias);
                if patient.is_none_or(|patient| patient.custodian != head.custodian) {
                    wrong("its custodian is not the one on the ledger");
                }
                if anchored.anchors_root != head.anchors_root {
                    wrong("its anchors' root is not the one on the ledger");
                }
            }
        }
        let custodian = self.custodian();
        let ours = head.custodian == self.organisation();
        let (rows, statements, wraps) = read!(self.database(), |tx| {
            let rows = records_of(tx, batch).await?;
            let mut statements = BTreeMap::new();
            for digest in rows.iter().filter_map(|row| row.statement) {
                statements.insert(digest, statement(tx, digest).await?);
            }
            let wraps = custodian_wraps(tx, head.alias, custodian).await?;
            Ok::<_, Error>((rows, statements, wraps))
        })?;
        let anchors: Result<Vec<RecordAnchor>, Error> =
            rows.iter().map(RecordRow::anchor).collect();
        let sound = anchors.is_ok_and(|anchors| {
            anchors.len() as u64 == head.records && anchors_root(&anchors) == head.anchors_root
        });
        if !sound {
            wrong("its records are not those that were anchored");
        }
        let class_keys = if ours {
            self.shared.class_keys(&wraps).ok()
        } else {
            None
        };
        for row in &rows {
            let record = row.record;
            let statement = row.statement.and_then(|digest| {
                let envelope = statements.get(&digest)?.as_ref();
                (envelope.map(|e| sha256(e)) != Some(digest)).then_some(())
            });
            if statement.is_some() {
                findings.push(Finding::Record {
                    record,
                    what: "its signed statement is altered or missing",
                });
            }
            if ours && !opens(head.alias, row, class_keys.as_ref()) {
                findings.push(Finding::Record {
                    record,
                    what: "its key does not open under the class key",
                });
            }
        }
        self.verify_located(&rows, findings).await
    }

    /// That every record's sealed bytes are in the index; the objects are read one by one later.
    async fn verify_located(
        &self,
        rows: &[RecordRow],
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let unlocated = read!(self.database(), |tx| {
            let mut unlocated = Vec::new();
            for row in rows {
                let location = blob::index::locate(tx, &row.ciphertext).await?;
                if location.is_none_or(|location| location.length != row.length) {
                    unlocated.push(row.record);
                }
            }
            Ok::<_, Error>(unlocated)
        })?;
        findings.extend(unlocated.into_iter().map(|record| Finding::Sealed {
            record,
            object: "no object".into(),
        }));
        Ok(())
    }

    async fn verify_object(
        &self,
        object: ObjectName,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        use salus_runtime::Error as E;

        let expected = read!(self.database(), |tx| match object {
            ObjectName::Pack(pack) => blob::index::in_pack(tx, &pack).await,
            ObjectName::Large(digest) => {
                let location = blob::index::locate(tx, &digest).await?;
                Ok(location.into_iter().collect())
            }
            ObjectName::Part(..) => Ok(Vec::new()),
        })?;
        let whole = match self.blobs().verify(object).await {
            Ok(verified) => verified.whole,
            Err(E::Corrupt { .. } | E::NotFound { .. }) => {
                findings.push(Finding::Object {
                    object: object.to_string(),
                    what: "it is missing, or does not say what it holds",
                });
                let mut whole = Vec::new();
                for location in &expected {
                    match self.blobs().get(location).await {
                        Ok(_) => whole.push(*location),
                        Err(E::Corrupt { .. } | E::NotFound { .. } | E::TooLarge { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                whole
            }
            Err(error) => return Err(error.into()),
        };
        for location in expected.iter().filter(|l| !whole.contains(l)) {
            let record: Option<(RecordId,)> = read!(self.database(), |tx| {
                tx.optional(
                    "SELECT record FROM vault_record WHERE ciphertext = $1 LIMIT 1",
                    &params![location.digest],
                )
                .await
            })?;
            findings.push(match record {
                Some((record,)) => Finding::Sealed {
                    record,
                    object: object.to_string(),
                },
                None => Finding::Object {
                    object: object.to_string(),
                    what: "a blob in it that belongs to no record is altered or missing",
                },
            });
        }
        Ok(())
    }
}

/// Whether the time in the row is the one in the manifest, whose digest is checked by itself.
fn created(head: &Head) -> bool {
    let signed = Signed::parse(&head.manifest).ok();
    let manifest = signed.and_then(|signed| {
        from_bytes::<Manifest>(signed.payload()?, MANIFEST_LIMIT, "a manifest").ok()
    });
    manifest.is_some_and(|manifest| manifest.created == head.created)
}

fn opens(
    alias: PatientAlias,
    row: &RecordRow,
    class_keys: Option<&BTreeMap<(KeyClass, u32), Secret>>,
) -> bool {
    let Some(wrap) = &row.key_wrap else {
        // Shared by record wraps alone, which only their recipients can open.
        return row.key_epoch == 0;
    };
    let Ok(anchor) = row.anchor() else {
        return false;
    };
    let context = key_wrap_context(alias, &anchor, row.key_epoch);
    class_keys
        .and_then(|keys| keys.get(&(anchor.class, row.key_epoch)))
        .is_some_and(|class_key| record_key(&context, class_key, wrap).is_ok())
}
