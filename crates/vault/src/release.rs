//! Giving records out: against a final receipt, to its reader, and nothing that it does not name.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::Stream;
use salus_contract::state::StateRead;
use salus_contract::table::{Accesses, Keys, Patients, Principals, get};
use salus_crypto::wrap::Recipient;
use salus_envelope::share::{RecordKeyOf, unwrap_record_key, wrap_class_key, wrap_record_key};
use salus_proto::command::{Action, COMMAND_LIMIT, Command, Entry, Outcome, SignedCommand};
use salus_proto::encode::from_bytes;
use salus_proto::ids::{AccessId, OrganisationId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::{ClassWrap, ClassWrapContext, KeyClass, RecordAnchor, RecordWrap};
use salus_proto::role::Role;
use salus_proto::{Digest, TimestampMs};
use salus_runtime::blob::{self, Location};
use salus_runtime::params;
use salus_runtime::table::Transaction;

use crate::check::acting;
use crate::row::{Joined, access_column, from_code, latest, statement};
use crate::stage::custodian_wraps;
use crate::{Error, Vault, blocking};

/// How long after its receipt sealed bytes are given out: ten minutes, in ms.
pub const RELEASE_MS: u64 = 10 * 60_000;

/// How a reader comes to the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// Staff of the custodian, or the custodian itself: its class keys are wrapped anew to them.
    Custodian,
    /// The holder of a grant on classes.
    Classes(AccessId, Vec<KeyClass>),
    /// Whoever a record key was wrapped to: under a grant on single records, or as its author.
    Single(Option<AccessId>),
}

/// A final receipt, read and checked against the ledger: who may have what, until when.
#[derive(Clone, Debug)]
pub struct ReadOrder {
    entry: u64,
    reader: PrincipalId,
    key: Recipient,
    alias: PatientAlias,
    records: Vec<RecordId>,
    standing: Standing,
    until: TimestampMs,
}

impl ReadOrder {
    /// Reads an accepted `ReadRecords` entry and checks that its reader may have the bytes now:
    /// that the alias is kept by `custodian`, that the reader still may act and its grant is still
    /// open, and that no more than [`RELEASE_MS`] have passed.
    ///
    /// # Errors
    /// [`Error::NotAReceipt`], [`Error::NotCustodian`], [`Error::ReceiptExpired`].
    pub fn from_entry(
        entry: &Entry,
        state: &dyn StateRead,
        custodian: OrganisationId,
        now: TimestampMs,
    ) -> Result<Self, Error> {
        let not = |reason| Error::NotAReceipt { reason };
        if entry.outcome != Outcome::Accepted {
            return Err(not("it was refused"));
        }
        let signed: SignedCommand =
            from_bytes(&entry.signed_command, COMMAND_LIMIT, "a signed command")?;
        let command: Command = from_bytes(&signed.command, COMMAND_LIMIT, "a command")?;
        let Action::ReadRecords {
            alias,
            access,
            records,
            ..
        } = command.action
        else {
            return Err(not("it is about something else"));
        };
        let kept_here = get::<Patients>(state, &alias).is_some_and(|p| p.custodian == custodian);
        if !kept_here {
            return Err(Error::NotCustodian { alias });
        }
        let until = entry.time.plus_ms(RELEASE_MS);
        if until < now {
            return Err(Error::ReceiptExpired);
        }
        let reader = command.principal;
        if !acting(state, reader) {
            return Err(not("its reader may not act any more"));
        }
        let (Some(principal), Some(keys)) = (
            get::<Principals>(state, &reader),
            get::<Keys>(state, &reader),
        ) else {
            return Err(not("its reader is unknown"));
        };
        let standing = match access {
            Some(id) => {
                let access = get::<Accesses>(state, &id)
                    .filter(|access| access.holder == reader && access.is_open(now))
                    .ok_or_else(|| not("its grant has ended"))?;
                match access.records {
                    None => Standing::Classes(id, access.classes),
                    Some(_) => Standing::Single(Some(id)),
                }
            }
            None => {
                let of_the_house = matches!(principal.role, Role::Organisation | Role::Staff)
                    && principal.organisation == custodian;
                if of_the_house {
                    Standing::Custodian
                } else {
                    Standing::Single(None)
                }
            }
        };
        Ok(Self {
            entry: entry.index,
            reader,
            key: Recipient::parse(&keys.x_wing)?,
            alias,
            records,
            standing,
            until,
        })
    }

    /// The receipt's entry.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// Who reads.
    pub fn reader(&self) -> PrincipalId {
        self.reader
    }

    /// Until when sealed bytes are given out.
    pub fn until(&self) -> TimestampMs {
        self.until
    }

    fn names(&self, record: RecordId) -> Result<(), Error> {
        let named = self.records.binary_search(&record).is_ok();
        named.then_some(()).ok_or(Error::NotAReceipt {
            reason: "it does not name this record",
        })
    }
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub struct Release {
    /// The receipt.
    pub entry: u64,
    /// Until when sealed bytes are given out under it.
    pub until: TimestampMs,
    /// The records, in the order of the receipt.
    pub records: Vec<ReleasedRecord>,
    /// The class keys that they need, wrapped to the reader.
    pub class_wraps: Vec<ClassWrap>,
}

/// What opens and proves one record. `Debug` shows no wrap.
#[derive(Clone)]
pub struct ReleasedRecord {
    /// What is anchored.
    pub anchor: RecordAnchor,
    /// Who signed its batch.
    pub signer: PrincipalId,
    /// The batch's signed manifest.
    pub manifest: Vec<u8>,
    /// The entry that anchored it.
    pub entry: u64,
    /// The epoch of the class key that `key_wrap` is under; 0 without one.
    pub key_epoch: u32,
    /// The record key under the class key.
    pub key_wrap: Option<Vec<u8>>,
    /// The record key wrapped to the reader.
    pub record_wrap: Option<RecordWrap>,
    /// The signed statement about the plaintext.
    pub statement: Option<Vec<u8>>,
}

impl core::fmt::Debug for ReleasedRecord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReleasedRecord")
            .field("anchor", &self.anchor)
            .finish_non_exhaustive()
    }
}

/// A record as read from the tables, before keys are dealt with.
struct Found {
    row: Joined,
    manifest: Vec<u8>,
    statement: Option<Vec<u8>>,
    wrap: Option<RecordWrap>,
}

impl Vault {
    /// What opens and proves the records of a receipt, for its reader and nobody else.
    ///
    /// # Errors
    /// [`Error::NotFound`] if one of them is not an anchored record of the alias;
    /// [`Error::NotForReader`] if nothing here opens it for the reader: outside the granted classes,
    /// not shared with them, or not written by them; failures of the database.
    pub async fn release(&self, order: &ReadOrder) -> Result<Release, Error> {
        let custodian = self.custodian();
        let (found, class_wraps) = read!(self.database(), |tx| {
            let mut found = Vec::with_capacity(order.records.len());
            for record in &order.records {
                found.push(find(tx, order, *record, custodian).await?);
            }
            let wraps = custodian_wraps(tx, order.alias, custodian).await?;
            Ok::<_, Error>((found, wraps))
        })?;
        let needed: BTreeSet<(KeyClass, u32)> = found
            .iter()
            .filter(|found| found.wrap.is_none())
            .map(|found| {
                let class = from_code(found.row.record.class, "records")?;
                Ok((class, found.row.record.key_epoch))
            })
            .collect::<Result<_, Error>>()?;
        let class_wraps = self.wraps_for(order, &needed, class_wraps).await?;
        let mut records = Vec::with_capacity(found.len());
        for found in found {
            records.push(self.released(order, found).await?);
        }
        Ok(Release {
            entry: order.entry,
            until: order.until,
            records,
            class_wraps,
        })
    }

    /// The digest and length of a record's sealed bytes, under a receipt that names it.
    ///
    /// # Errors
    /// [`Error::NotAReceipt`] if it does not; [`Error::NotFound`]; failures of the database.
    pub async fn sealed_size(
        &self,
        order: &ReadOrder,
        record: RecordId,
    ) -> Result<(Digest, u64), Error> {
        let location = self.sealed_location(order, record).await?;
        Ok((location.digest, location.length))
    }

    /// Bytes `range` of a record's sealed bytes, at most 64 MiB and cut at their end, under a receipt
    /// that names it.
    ///
    /// # Errors
    /// As for [`Vault::sealed_size`]; failures of the disk; damaged bytes are not given out.
    pub async fn sealed(
        &self,
        order: &ReadOrder,
        record: RecordId,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let location = self.sealed_location(order, record).await?;
        Ok(self.blobs().read(&location, range).await?)
    }

    /// All of a record's sealed bytes, of any length, checked piece by piece.
    ///
    /// # Errors
    /// As for [`Vault::sealed`], here or in the stream.
    pub async fn sealed_stream(
        &self,
        order: &ReadOrder,
        record: RecordId,
    ) -> Result<impl Stream<Item = salus_runtime::Result<Bytes>> + Send + use<>, Error> {
        let location = self.sealed_location(order, record).await?;
        Ok(self.blobs().stream(&location).await?)
    }

    async fn sealed_location(
        &self,
        order: &ReadOrder,
        record: RecordId,
    ) -> Result<Location, Error> {
        order.names(record)?;
        if order.until < self.shared.clock.now() {
            return Err(Error::ReceiptExpired);
        }
        let custodian = self.custodian();
        read!(self.database(), |tx| {
            // Whoever may not have the key does not get the bytes either.
            let found = find(tx, order, record, custodian).await?;
            blob::index::locate(tx, &found.row.record.ciphertext)
                .await?
                .ok_or(Error::NotFound {
                    what: "sealed bytes",
                })
        })
    }

    /// The class keys `needed`, wrapped to the reader.
    async fn wraps_for(
        &self,
        order: &ReadOrder,
        needed: &BTreeSet<(KeyClass, u32)>,
        held: Vec<ClassWrap>,
    ) -> Result<Vec<ClassWrap>, Error> {
        let held: Vec<ClassWrap> = held
            .into_iter()
            .filter(|wrap| needed.contains(&(wrap.class, wrap.epoch)))
            .collect();
        match &order.standing {
            // The custodian's own wraps open for the custodian as they are.
            Standing::Custodian if order.reader == self.custodian() => Ok(held),
            Standing::Custodian => self.wrap_anew(held, order, None).await,
            Standing::Classes(access, _) => {
                let (access, reader) = (*access, order.reader);
                let alias = order.alias;
                let granted = read!(self.database(), |tx| {
                    holder_wraps(tx, alias, reader, access).await
                })?;
                let mut wraps: BTreeMap<(KeyClass, u32), ClassWrap> = granted
                    .into_iter()
                    .filter(|wrap| needed.contains(&(wrap.class, wrap.epoch)))
                    .map(|wrap| ((wrap.class, wrap.epoch), wrap))
                    .collect();
                // The first records of a class may have come after the grant.
                let missing: Vec<ClassWrap> = held
                    .into_iter()
                    .filter(|wrap| !wraps.contains_key(&(wrap.class, wrap.epoch)))
                    .collect();
                for wrap in self.wrap_anew(missing, order, Some(access)).await? {
                    wraps.insert((wrap.class, wrap.epoch), wrap);
                }
                Ok(wraps.into_values().collect())
            }
            Standing::Single(_) => Ok(Vec::new()),
        }
    }

    /// Opens the custodian's class keys and wraps them to the reader.
    async fn wrap_anew(
        &self,
        held: Vec<ClassWrap>,
        order: &ReadOrder,
        access: Option<AccessId>,
    ) -> Result<Vec<ClassWrap>, Error> {
        if held.is_empty() {
            return Ok(held);
        }
        let (shared, recipient) = (self.shared.clone(), order.reader);
        let (key, alias) = (order.key.clone(), order.alias);
        blocking(move || {
            let class_keys = shared.class_keys(&held)?;
            class_keys
                .iter()
                .map(|(&(class, epoch), class_key)| {
                    let context = ClassWrapContext {
                        alias,
                        class,
                        epoch,
                        recipient,
                        access,
                    };
                    let wrap = |entropy: &mut dyn salus_proto::Entropy| {
                        wrap_class_key(&context, class_key, &key, entropy)
                    };
                    Ok(shared.with_entropy(wrap)?)
                })
                .collect()
        })
        .await
    }

    async fn released(&self, order: &ReadOrder, found: Found) -> Result<ReleasedRecord, Error> {
        let Found {
            row,
            manifest,
            statement,
            wrap,
        } = found;
        let anchor = row.record.anchor()?;
        let record_wrap = match wrap {
            Some(wrap) if wrap.recipient != order.reader => {
                // The custodian's wrap, for one of its staff.
                let (shared, order) = (self.shared.clone(), order.clone());
                let wrap = blocking(move || {
                    let key = shared.open(|secret| unwrap_record_key(&wrap, secret))?;
                    let to = RecordKeyOf {
                        recipient: order.reader,
                        key: &order.key,
                        access: None,
                    };
                    let wrap = shared
                        .with_entropy(|entropy| wrap_record_key(wrap.record, &key, &to, entropy));
                    Ok(wrap?)
                });
                Some(wrap.await?)
            }
            other => other,
        };
        let under_class_key = record_wrap.is_none();
        Ok(ReleasedRecord {
            anchor,
            signer: row.batch.signer,
            manifest,
            entry: row.batch.entry,
            key_epoch: if under_class_key {
                row.record.key_epoch
            } else {
                0
            },
            key_wrap: row.record.key_wrap.filter(|_| under_class_key),
            record_wrap,
            statement,
        })
    }
}

/// A record that the order's reader may open, with the wrap that opens it where that is not the
/// class key.
async fn find(
    tx: &mut Transaction,
    order: &ReadOrder,
    record: RecordId,
    custodian: PrincipalId,
) -> Result<Found, Error> {
    let row = latest(tx, order.alias, record)
        .await?
        .ok_or(Error::NotFound { what: "record" })?;
    let not_for_reader = Error::NotForReader { record };
    let class: KeyClass = from_code(row.record.class, "records")?;
    let under_class_key = row.record.key_wrap.is_some();
    let version = row.record.version;
    let wrap = match &order.standing {
        Standing::Custodian if under_class_key => None,
        Standing::Custodian => {
            let wrap = record_wrap(tx, (record, version), custodian, None).await?;
            Some(wrap.ok_or(not_for_reader)?)
        }
        Standing::Classes(_, classes) if under_class_key => {
            if !classes.contains(&class) {
                return Err(not_for_reader);
            }
            None
        }
        // Questions and answers are wrapped to the people of the consultation, not under a class.
        Standing::Classes(..) => {
            let wrap = record_wrap(tx, (record, version), order.reader, None).await?;
            Some(wrap.ok_or(not_for_reader)?)
        }
        Standing::Single(access) => {
            let wrap = record_wrap(tx, (record, version), order.reader, *access).await?;
            Some(wrap.ok_or(not_for_reader)?)
        }
    };
    let (manifest,): (Vec<u8>,) = tx
        .one(
            "batch",
            "SELECT manifest FROM vault_batch WHERE batch = $1",
            &params![row.batch.batch],
        )
        .await?;
    let statement = match row.record.statement {
        Some(digest) => {
            let found = statement(tx, digest).await?;
            Some(found.ok_or(Error::Damaged { what: "statements" })?)
        }
        None => None,
    };
    Ok(Found {
        row,
        manifest,
        statement,
        wrap,
    })
}

async fn record_wrap(
    tx: &mut Transaction,
    (record, version): (RecordId, u32),
    recipient: PrincipalId,
    access: Option<AccessId>,
) -> Result<Option<RecordWrap>, Error> {
    let found: Option<(Vec<u8>,)> = tx
        .optional(
            "SELECT wrap FROM vault_record_wrap
             WHERE record = $1 AND version = $2 AND recipient = $3 AND access = $4",
            &params![record, version, recipient, access_column(access)],
        )
        .await?;
    Ok(found.map(|(wrap,)| RecordWrap {
        record,
        recipient,
        access,
        wrap,
    }))
}

/// The class keys that a grant's holder was given.
async fn holder_wraps(
    tx: &mut Transaction,
    alias: PatientAlias,
    recipient: PrincipalId,
    access: AccessId,
) -> Result<Vec<ClassWrap>, Error> {
    let rows: Vec<(u32, u32, Vec<u8>)> = tx
        .all(
            "SELECT class, epoch, wrap FROM vault_class_wrap
             WHERE alias = $1 AND recipient = $2 AND access = $3",
            &params![alias, recipient, access_column(Some(access))],
        )
        .await?;
    rows.into_iter()
        .map(|(class, epoch, wrap)| {
            Ok(ClassWrap {
                alias,
                class: from_code(class, "class keys")?,
                epoch,
                recipient,
                access: Some(access),
                wrap,
            })
        })
        .collect()
}
