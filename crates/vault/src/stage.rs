//! Taking batches in: blobs in one pack, rows in one transaction, many waiting batches at a time.
//!
//! Whoever finds nobody at work takes everything that waits and makes it durable together; the
//! others wait for their answers. So a hundred uploads share two fsyncs, and one alone waits for
//! nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use salus_contract::state::StateRead;
use salus_contract::table::{Batches, get};
use salus_envelope::share::unwrap_class_key;
use salus_proto::ids::{BatchId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::{ClassWrap, KeyClass};
use salus_proto::{Digest, TimestampMs};
use salus_runtime::blob::{self, ObjectName, PACK_BLOBS_MAX, PACK_BYTES_MAX, SMALL_MAX, UploadId};
use salus_runtime::table::Transaction;
use salus_runtime::{params, transact};
use tokio::sync::oneshot;

use crate::check::{Checked, check_keys, needed_keys};
use crate::row::{access_column, code, from_code};
use crate::{Error, Shared, Vault, blocking};

/// Most batches made durable together.
const GROUP_LIMIT: usize = 64;

/// Where a batch stands after it was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staged {
    /// Durable here; its command has yet to become final.
    Waiting,
    /// On the ledger, at this entry.
    Anchored(u64),
}

/// A staged batch and the command that anchors it.
#[derive(Clone, PartialEq, Eq)]
pub struct StagedBatch {
    /// The batch.
    pub batch: BatchId,
    /// The signed command.
    pub command: Vec<u8>,
    /// When it was staged.
    pub staged: TimestampMs,
}

impl core::fmt::Debug for StagedBatch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "StagedBatch({})", self.batch)
    }
}

/// What waits to be made durable.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<Job>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Staged, Error>>,
}

enum Work {
    Stage {
        checked: Box<Checked>,
        /// Sealed bytes, taken out of the batch.
        blobs: Vec<(Digest, Bytes)>,
        /// Records whose sealed bytes must be here already, with digest and length.
        elsewhere: Vec<(RecordId, Digest, u64)>,
    },
    Anchor {
        batch: BatchId,
        entry: u64,
    },
}

impl Work {
    fn size(&self) -> (usize, usize) {
        match self {
            Self::Stage { blobs, .. } => (
                blobs.len(),
                blobs.iter().map(|(_, bytes)| bytes.len()).sum(),
            ),
            Self::Anchor { .. } => (0, 0),
        }
    }
}

impl Vault {
    /// Makes a checked batch durable: sealed bytes and rows, or nothing of it. Repeating it gives the
    /// same answer. Its records are listed and released only once it is anchored.
    ///
    /// # Errors
    /// [`Error::BatchTaken`], [`Error::RecordTaken`], [`Error::ClassKeyTaken`],
    /// [`Error::WrongEpoch`], [`Error::MissingBlob`]; [`Error::Envelope`] if a key wrap does not
    /// open or a sealed record is another's; failures of disk and database, after which nothing of
    /// it was acknowledged.
    pub async fn stage(&self, checked: Checked) -> Result<Staged, Error> {
        let mut checked = self.check_keys(checked).await?;
        let mut blobs = Vec::with_capacity(checked.batch.records.len());
        let mut elsewhere = Vec::new();
        for (anchor, record) in checked.batch.anchors.iter().zip(&mut checked.batch.records) {
            if let Some(blob) = record.blob.take() {
                if blob.len() > SMALL_MAX {
                    self.store_large(anchor.ciphertext, blob).await?;
                } else {
                    blobs.push((anchor.ciphertext, Bytes::from(blob)));
                }
            } else {
                elsewhere.push((anchor.record, anchor.ciphertext, anchor.length));
            }
        }
        let work = Work::Stage {
            checked: Box::new(checked),
            blobs,
            elsewhere,
        };
        self.enqueue(work).await
    }

    /// Records that the ledger has a staged batch at this entry, from which moment its records are
    /// listed, released and replicated. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no such batch is staged; failures of the database.
    pub async fn anchored(&self, batch: BatchId, entry: u64) -> Result<(), Error> {
        self.enqueue(Work::Anchor { batch, entry }).await.map(drop)
    }

    /// Batches that were staged and never heard of again, oldest first, at most 1,000: after a crash
    /// between staging and anchoring.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn staged(&self) -> Result<Vec<StagedBatch>, Error> {
        read!(self.database(), |tx| {
            let rows: Vec<(BatchId, Vec<u8>, TimestampMs)> = tx
                .all(
                    "SELECT batch, command, staged FROM vault_batch WHERE entry IS NULL
                         ORDER BY staged, batch LIMIT 1000",
                    &[],
                )
                .await?;
            let staged = rows
                .into_iter()
                .map(|(batch, command, staged)| StagedBatch {
                    batch,
                    command,
                    staged,
                });
            Ok(staged.collect())
        })
    }

    /// Compares staged batches with the ledger after a restart: marks those that it has as anchored,
    /// and returns the others, whose commands are to be submitted again or given up
    /// ([`Vault::discard`]).
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn settle(&self, state: &(dyn StateRead + Sync)) -> Result<Vec<StagedBatch>, Error> {
        let mut open = Vec::new();
        for staged in self.staged().await? {
            match get::<Batches>(state, &staged.batch) {
                Some(anchored) => self.anchored(staged.batch, anchored.entry).await?,
                None => open.push(staged),
            }
        }
        Ok(open)
    }

    /// Gives up a staged batch whose command was refused or has expired: its rows, its record wraps
    /// and, when nothing else is in their packs, its sealed bytes. Class keys that came with it stay,
    /// because later batches may be sealed under them.
    ///
    /// # Errors
    /// Failures of disk and database.
    pub async fn discard(&self, batch: BatchId) -> Result<bool, Error> {
        let digests = transact!(self.database(), "discard a batch", |tx| {
            let staged: Option<(BatchId,)> = tx
                .optional(
                    "SELECT batch FROM vault_batch WHERE batch = $1 AND entry IS NULL",
                    &params![batch],
                )
                .await?;
            if staged.is_none() {
                return Ok::<_, Error>(None);
            }
            let digests: Vec<(Digest,)> = tx
                .all(
                    "SELECT ciphertext FROM vault_record WHERE batch = $1",
                    &params![batch],
                )
                .await?;
            remove_batch(tx, batch).await?;
            Ok(Some(digests))
        })?;
        let Some(digests) = digests else {
            return Ok(false);
        };
        self.shared
            .forget_blobs(digests.into_iter().map(|(digest,)| digest).collect())
            .await?;
        Ok(true)
    }

    async fn check_keys(&self, checked: Checked) -> Result<Checked, Error> {
        if checked.custodian != self.organisation() {
            // A replica has no keys to check.
            return Ok(checked);
        }
        let needed = needed_keys(&checked.batch.anchors);
        let mut wraps = checked.batch.class_wraps.clone();
        let came_along = |wraps: &[ClassWrap], need: &(KeyClass, u32)| {
            wraps.iter().any(|w| (w.class, w.epoch) == *need)
        };
        if !needed.iter().all(|need| came_along(&wraps, need)) {
            let alias = checked.manifest.alias;
            let custodian = self.custodian();
            let held = read!(self.database(), |tx| {
                custodian_wraps(tx, alias, custodian).await
            })?;
            for wrap in held {
                let need = (wrap.class, wrap.epoch);
                if needed.contains(&need) && !came_along(&wraps, &need) {
                    wraps.push(wrap);
                }
            }
        }
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let class_keys = shared.class_keys(&wraps)?;
            check_keys(&checked, &class_keys)?;
            Ok(checked)
        })
        .await
    }

    async fn store_large(&self, digest: Digest, blob: Vec<u8>) -> Result<(), Error> {
        let upload = self.shared.with_entropy(UploadId::random);
        let location = self
            .blobs()
            .put_large(upload, digest, Cursor::new(blob))
            .await?;
        transact!(self.database(), "record a large blob", |tx| {
            blob::index::record(tx, &[location]).await
        })?;
        Ok(())
    }

    async fn enqueue(&self, work: Work) -> Result<Staged, Error> {
        let (answer, answered) = oneshot::channel();
        let queue = &self.shared.queue;
        queue
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(Job { work, answer });
        let turn = Arc::clone(&queue.turn).lock_owned().await;
        let group = queue.take();
        if group.is_empty() {
            // Whoever was at work has taken ours along.
            drop(turn);
        } else {
            let shared = Arc::clone(&self.shared);
            // In a task of its own: the caller may go away, those who wait with it may not suffer.
            tokio::spawn(async move {
                let _turn = turn;
                shared.commit(group).await;
            });
        }
        answered.await.unwrap_or(Err(Error::Interrupted))
    }
}

impl Queue {
    /// Takes as many waiting jobs as fit one pack and one transaction.
    fn take(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut blobs, mut bytes) = (0, 0);
        let mut group = Vec::new();
        while let Some(job) = waiting.front() {
            let (more_blobs, more_bytes) = job.work.size();
            blobs += more_blobs;
            bytes += more_bytes;
            let full =
                blobs > PACK_BLOBS_MAX || bytes > PACK_BYTES_MAX || group.len() >= GROUP_LIMIT;
            if full && !group.is_empty() {
                break;
            }
            group.extend(waiting.pop_front());
        }
        group
    }
}

impl Shared {
    /// Makes a group durable and answers everybody in it. When it fails as a whole, each is tried
    /// alone, so that nobody pays for another's batch.
    async fn commit(&self, group: Vec<Job>) {
        let (works, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|job| (job.work, job.answer)).unzip();
        let alone = works.len() == 1;
        let results =
            match self.make_durable(&works).await {
                Ok(results) => results,
                Err(error) if alone => vec![Err(error)],
                Err(_) => {
                    let mut results = Vec::with_capacity(works.len());
                    for work in &works {
                        let one = self.make_durable(core::slice::from_ref(work)).await;
                        results.push(one.and_then(|mut results| {
                            results.pop().unwrap_or(Err(Error::Interrupted))
                        }));
                    }
                    results
                }
            };
        for (answer, result) in answers.into_iter().zip(results) {
            // Nobody may be listening any more.
            let _ = answer.send(result);
        }
    }

    async fn make_durable(&self, works: &[Work]) -> Result<Vec<Result<Staged, Error>>, Error> {
        let blobs = self.new_blobs(works).await?;
        let locations = self.blobs.put_pack(blobs).await?;
        let now = self.clock.now();
        let (results, refused) = transact!(self.database, "stage batches", |tx| {
            let mut results = Vec::with_capacity(works.len());
            let mut refused = false;
            blob::index::record(tx, &locations).await?;
            for work in works {
                let result = match work {
                    Work::Stage {
                        checked, elsewhere, ..
                    } => {
                        let result = self.stage_rows(tx, checked, elsewhere, now).await?;
                        refused |= result.is_err();
                        result
                    }
                    Work::Anchor { batch, entry } => anchor_rows(tx, *batch, *entry).await?,
                };
                results.push(result);
            }
            Ok::<_, Error>((results, refused))
        })?;
        if refused {
            self.forget_blobs(locations.iter().map(|l| l.digest).collect())
                .await?;
        }
        Ok(results)
    }

    /// The sealed bytes of batches that are not here yet: repeated uploads are not stored twice.
    async fn new_blobs(&self, works: &[Work]) -> Result<Vec<(Digest, Bytes)>, Error> {
        let mut new = BTreeMap::new();
        for work in works {
            let Work::Stage { checked, blobs, .. } = work else {
                continue;
            };
            let batch = checked.manifest.batch;
            let known: Option<(i64,)> = read!(self.database, |tx| {
                tx.optional(
                    "SELECT 1 FROM vault_batch WHERE batch = $1",
                    &params![batch],
                )
                .await
            })?;
            if known.is_none() {
                new.extend(blobs.iter().cloned());
            }
        }
        Ok(new.into_iter().collect())
    }

    /// Forgets those of some blobs that no record has, and deletes objects that are left empty.
    pub(crate) async fn forget_blobs(&self, digests: Vec<Digest>) -> Result<(), Error> {
        let empty = transact!(self.database, "forget blobs", |tx| {
            let mut touched = BTreeSet::new();
            for digest in &digests {
                let used: Option<(i64,)> = tx
                    .optional(
                        "SELECT 1 FROM vault_record WHERE ciphertext = $1 LIMIT 1",
                        &params![digest],
                    )
                    .await?;
                let Some(location) = blob::index::locate(tx, digest).await? else {
                    continue;
                };
                if used.is_none() {
                    blob::index::forget(tx, digest).await?;
                    touched.insert(location.object());
                }
            }
            let mut empty = Vec::new();
            for object in touched {
                let kept = match object {
                    ObjectName::Pack(pack) => blob::index::in_pack(tx, &pack).await?.len(),
                    ObjectName::Large(_) | ObjectName::Part(..) => 0,
                };
                if kept == 0 {
                    empty.push(object);
                }
            }
            Ok::<_, Error>(empty)
        })?;
        for object in empty {
            self.blobs.delete(object).await?;
        }
        Ok(())
    }

    /// The rows of one batch. The outer error ends the transaction; the inner one is this batch's
    /// alone and leaves no row.
    async fn stage_rows(
        &self,
        tx: &mut Transaction,
        checked: &Checked,
        elsewhere: &[(RecordId, Digest, u64)],
        now: TimestampMs,
    ) -> Result<Result<Staged, Error>, Error> {
        let manifest = &checked.manifest;
        let batch = manifest.batch;
        let known: Option<(Digest, Option<u64>)> = tx
            .optional(
                "SELECT fingerprint, entry FROM vault_batch WHERE batch = $1",
                &params![batch],
            )
            .await?;
        match known {
            Some((fingerprint, _)) if fingerprint != checked.fingerprint => {
                return Ok(Err(Error::BatchTaken { batch }));
            }
            Some((_, Some(entry))) => return Ok(Ok(Staged::Anchored(entry))),
            Some((_, None)) => {
                // The same batch under a command that was signed anew.
                tx.execute(
                    "UPDATE vault_batch SET command = $2 WHERE batch = $1",
                    &params![batch, checked.batch.command],
                )
                .await?;
                return match checked.entry {
                    Some(entry) => anchor_rows(tx, batch, entry).await,
                    None => Ok(Ok(Staged::Waiting)),
                };
            }
            None => {}
        }
        if let Err(refused) = self.class_key_rows(tx, checked).await? {
            return Ok(Err(refused));
        }
        if let Err(refused) = uploaded(tx, elsewhere).await? {
            return Ok(Err(refused));
        }
        patient_row(tx, checked).await?;
        tx.execute(
            "INSERT INTO vault_batch (batch, alias, signer, created, records, anchors_root, manifest,
                                      command, fingerprint, staged)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &params![
                batch,
                manifest.alias,
                manifest.signer,
                manifest.created,
                manifest.count,
                manifest.anchors_root,
                checked.batch.manifest,
                checked.batch.command,
                checked.fingerprint,
                now
            ],
        )
        .await?;
        if let Err(refused) = record_rows(tx, checked).await? {
            remove_batch(tx, batch).await?;
            return Ok(Err(refused));
        }
        match checked.entry {
            Some(entry) => anchor_rows(tx, batch, entry).await,
            None => Ok(Ok(Staged::Waiting)),
        }
    }

    /// Stores class keys that are new with this batch and makes sure that its records are under
    /// current ones.
    async fn class_key_rows(
        &self,
        tx: &mut Transaction,
        checked: &Checked,
    ) -> Result<Result<(), Error>, Error> {
        let needed = needed_keys(&checked.batch.anchors);
        if checked.custodian != self.organisation
            || needed.is_empty() && checked.batch.class_wraps.is_empty()
        {
            return Ok(Ok(()));
        }
        let held = custodian_wraps(tx, checked.manifest.alias, self.custodian()).await?;
        let mut current: BTreeMap<KeyClass, u32> = BTreeMap::new();
        for wrap in &held {
            let epoch = current.entry(wrap.class).or_default();
            *epoch = wrap.epoch.max(*epoch);
        }
        for wrap in &checked.batch.class_wraps {
            match held
                .iter()
                .find(|h| (h.class, h.epoch) == (wrap.class, wrap.epoch))
            {
                // A repeated upload wraps the same key anew.
                Some(held) if held.wrap == wrap.wrap || self.same_key(held, wrap)? => {}
                None if wrap.epoch == 1 && !current.contains_key(&wrap.class) => {
                    current.insert(wrap.class, 1);
                    insert_class_wraps(tx, core::slice::from_ref(wrap)).await?;
                }
                _ => return Ok(Err(Error::ClassKeyTaken { class: wrap.class })),
            }
        }
        let wrong = needed
            .into_iter()
            .find(|(class, epoch)| current.get(class) != Some(epoch));
        Ok(match wrong {
            Some((class, epoch)) => Err(Error::WrongEpoch { class, epoch }),
            None => Ok(()),
        })
    }

    fn same_key(&self, a: &ClassWrap, b: &ClassWrap) -> Result<bool, Error> {
        let open = |wrap| self.open(|secret| unwrap_class_key(wrap, secret));
        Ok(open(a)? == open(b)?)
    }
}

async fn patient_row(tx: &mut Transaction, checked: &Checked) -> Result<(), Error> {
    let name = checked.batch.name.as_deref();
    tx.execute(
        "INSERT INTO vault_patient (alias, custodian, name, search, named_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (alias) DO UPDATE SET
             name = excluded.name, search = excluded.search, named_at = excluded.named_at
         WHERE excluded.name IS NOT NULL AND excluded.named_at >= vault_patient.named_at",
        &params![
            checked.manifest.alias,
            checked.custodian,
            name,
            name.unwrap_or_default().to_lowercase(),
            if name.is_some() {
                checked.manifest.created
            } else {
                TimestampMs(0)
            }
        ],
    )
    .await?;
    Ok(())
}

async fn record_rows(tx: &mut Transaction, checked: &Checked) -> Result<Result<(), Error>, Error> {
    let (manifest, batch) = (&checked.manifest, &checked.batch);
    for anchor in &batch.anchors {
        if anchor.version == 1 {
            continue;
        }
        let before: Option<(i64,)> = tx
            .optional(
                "SELECT 1 FROM vault_record r JOIN vault_batch b ON b.batch = r.batch
                 WHERE r.record = $1 AND r.version = $2 AND b.alias = $3",
                &params![anchor.record, anchor.version - 1, manifest.alias],
            )
            .await?;
        if before.is_none() {
            return Ok(Err(Error::RecordTaken {
                record: anchor.record,
            }));
        }
    }
    let rows = batch.anchors.iter().zip(&batch.records).enumerate();
    let rows = rows.map(|(position, (anchor, record))| {
        params![
            manifest.batch,
            position,
            anchor.record,
            anchor.version,
            code(&anchor.class),
            anchor.epoch,
            code(&anchor.kind),
            anchor.ciphertext,
            anchor.length,
            anchor.statement,
            record.key_wrap,
            anchor.epoch
        ]
    });
    // Collected, here and below: a future that holds a closure over borrowed rows is not `Send` to
    // the compiler.
    let rows: Vec<_> = rows.collect();
    let written = tx
        .insert_many(
            "INSERT INTO vault_record (batch, position, record, version, class, epoch, kind,
                                       ciphertext, length, statement, key_wrap, key_epoch)",
            rows,
            "ON CONFLICT (record, version) DO NOTHING",
        )
        .await?;
    if written != u64::from(manifest.count) {
        let taken = first_taken(tx, checked).await?;
        return Ok(Err(Error::RecordTaken { record: taken }));
    }
    let statements = batch.anchors.iter().zip(&batch.records);
    let statements = statements.filter_map(|(anchor, record)| {
        Some(params![anchor.statement?, record.statement.as_ref()?])
    });
    let statements: Vec<_> = statements.collect();
    tx.insert_many(
        "INSERT INTO vault_statement (digest, envelope)",
        statements,
        "ON CONFLICT (digest) DO NOTHING",
    )
    .await?;
    let versions: BTreeMap<_, u32> = batch
        .anchors
        .iter()
        .map(|a| (a.record, a.version))
        .collect();
    let rows = batch.record_wraps.iter().map(|wrap| {
        let version = versions.get(&wrap.record).copied().unwrap_or(1);
        params![
            wrap.record,
            version,
            wrap.recipient,
            access_column(wrap.access),
            wrap.wrap
        ]
    });
    let rows: Vec<_> = rows.collect();
    tx.insert_many(
        "INSERT INTO vault_record_wrap (record, version, recipient, access, wrap)",
        rows,
        "ON CONFLICT (record, version, recipient, access) DO NOTHING",
    )
    .await?;
    Ok(Ok(()))
}

async fn first_taken(tx: &mut Transaction, checked: &Checked) -> Result<RecordId, Error> {
    for anchor in &checked.batch.anchors {
        let other: Option<(BatchId,)> = tx
            .optional(
                "SELECT batch FROM vault_record WHERE record = $1 AND version = $2 AND batch <> $3",
                &params![anchor.record, anchor.version, checked.manifest.batch],
            )
            .await?;
        if other.is_some() {
            return Ok(anchor.record);
        }
    }
    Err(Error::Damaged { what: "records" })
}

/// That sealed bytes which did not come along were uploaded before, with the anchored length.
async fn uploaded(
    tx: &mut Transaction,
    elsewhere: &[(RecordId, Digest, u64)],
) -> Result<Result<(), Error>, Error> {
    for (record, digest, length) in elsewhere {
        let location = blob::index::locate(tx, digest).await?;
        if location.is_none_or(|location| location.length != *length) {
            return Ok(Err(Error::MissingBlob { record: *record }));
        }
    }
    Ok(Ok(()))
}

async fn anchor_rows(
    tx: &mut Transaction,
    batch: BatchId,
    entry: u64,
) -> Result<Result<Staged, Error>, Error> {
    let changed = tx
        .execute(
            "UPDATE vault_batch SET entry = $2, place =
                 (SELECT COALESCE(MAX(place), 0) + 1 FROM vault_batch)
             WHERE batch = $1 AND entry IS NULL",
            &params![batch, entry],
        )
        .await?;
    if changed == 1 {
        return Ok(Ok(Staged::Anchored(entry)));
    }
    let known: Option<(Option<u64>,)> = tx
        .optional(
            "SELECT entry FROM vault_batch WHERE batch = $1",
            &params![batch],
        )
        .await?;
    Ok(match known {
        Some((Some(entry),)) => Ok(Staged::Anchored(entry)),
        _ => Err(Error::NotFound { what: "batch" }),
    })
}

/// Removes a batch's rows; what is left of it are its class keys and its bytes.
pub(crate) async fn remove_batch(tx: &mut Transaction, batch: BatchId) -> Result<(), Error> {
    for sql in [
        "DELETE FROM vault_record_wrap WHERE EXISTS
             (SELECT 1 FROM vault_record r WHERE r.batch = $1
              AND r.record = vault_record_wrap.record AND r.version = vault_record_wrap.version)",
        "DELETE FROM vault_statement WHERE digest IN
             (SELECT statement FROM vault_record WHERE batch = $1)",
        "DELETE FROM vault_record WHERE batch = $1",
        "DELETE FROM vault_batch WHERE batch = $1",
    ] {
        tx.execute(sql, &params![batch]).await?;
    }
    Ok(())
}

/// The class keys of a patient that are wrapped to the custodian.
pub(crate) async fn custodian_wraps(
    tx: &mut Transaction,
    alias: PatientAlias,
    custodian: PrincipalId,
) -> Result<Vec<ClassWrap>, Error> {
    let rows: Vec<(u32, u32, Vec<u8>)> = tx
        .all(
            "SELECT class, epoch, wrap FROM vault_class_wrap
             WHERE alias = $1 AND recipient = $2 AND access = $3 ORDER BY class, epoch",
            &params![alias, custodian, access_column(None)],
        )
        .await?;
    rows.into_iter()
        .map(|(class, epoch, wrap)| {
            Ok(ClassWrap {
                alias,
                class: from_code(class, "class keys")?,
                epoch,
                recipient: custodian,
                access: None,
                wrap,
            })
        })
        .collect()
}

/// Stores class wraps; those that are there already stay as they are.
pub(crate) async fn insert_class_wraps(
    tx: &mut Transaction,
    wraps: &[ClassWrap],
) -> Result<(), Error> {
    let rows = wraps.iter().map(|wrap| {
        params![
            wrap.alias,
            code(&wrap.class),
            wrap.epoch,
            wrap.recipient,
            access_column(wrap.access),
            wrap.wrap
        ]
    });
    let rows: Vec<_> = rows.collect();
    tx.insert_many(
        "INSERT INTO vault_class_wrap (alias, class, epoch, recipient, access, wrap)",
        rows,
        "ON CONFLICT (alias, class, epoch, recipient, access) DO NOTHING",
    )
    .await?;
    Ok(())
}
