//! Reading: a signed receipt first, then sealed bytes, then everything checked and opened here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use salus_crypto::digest::Secret;
use salus_crypto::keys::PeerKeys;
use salus_crypto::label;
use salus_envelope::open;
use salus_envelope::share::{unwrap_class_key, unwrap_record_key};
use salus_ledger::bundle::Report;
use salus_proto::api::patient::{OwnAlias, PatientSummary, Receipt, SealedRecordView};
use salus_proto::api::record::{Release, ReleaseRequest, ReleasedRecord};
use salus_proto::command::Action;
use salus_proto::encode::from_bytes;
use salus_proto::ids::{AccessId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::{
    ClassWrap, Content, KeyClass, MANIFEST_LIMIT, Manifest, RecordAnchor, RecordWrap, Statement,
};
use salus_proto::role::Purpose;

use crate::error::{Error, Result};
use crate::node::Node;
use crate::person::Person;

/// Largest encoded anchor, in bytes.
const ANCHOR_LIMIT: usize = 1024;

/// A record that was read, checked and opened.
#[derive(Debug)]
pub struct Opened {
    /// What the ledger anchors.
    pub anchor: RecordAnchor,
    /// Who sealed it.
    pub signer: PrincipalId,
    /// What its signer stated about the plaintext, if signed; both signatures verified.
    pub statement: Option<Statement>,
    /// The plaintext.
    pub content: Content,
    /// The record key, to share just this record.
    pub key: Secret,
}

/// What to read and why.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Whose records.
    pub alias: PatientAlias,
    /// The grant; none for the custodian's people and for authors.
    pub access: Option<AccessId>,
    /// Which records.
    pub records: Vec<RecordId>,
    /// What for.
    pub purpose: Purpose,
}

impl Person {
    /// The aliases under which hospitals keep this patient's records.
    pub async fn own_aliases(&self) -> Result<Vec<OwnAlias>> {
        self.node().all("/patients/mine").await
    }

    /// Patients of this node, by clear name where there is one.
    pub async fn patients(&self) -> Result<Vec<PatientSummary>> {
        self.node().all("/patients").await
    }

    /// The sealed records of an alias: digests, signers, times; no content.
    pub async fn sealed_records(&self, alias: PatientAlias) -> Result<Vec<SealedRecordView>> {
        self.node().all(&format!("/patients/{alias}/records")).await
    }

    /// Who read an alias, when and what for.
    pub async fn receipts(&self, alias: PatientAlias) -> Result<Vec<Receipt>> {
        self.node()
            .all(&format!("/patients/{alias}/receipts"))
            .await
    }

    /// Reads records: the signed receipt becomes final on the ledger, then the sealed bytes are
    /// fetched, checked against their anchors and signatures, and opened.
    pub async fn read(&self, reading: Reading) -> Result<Vec<Opened>> {
        let mut records = reading.records;
        records.sort_unstable();
        records.dedup();
        let command = self.sign(Action::ReadRecords {
            alias: reading.alias,
            access: reading.access,
            records,
            purpose: reading.purpose,
        });
        let release: Release = self
            .node()
            .post(
                "/records/releases",
                &ReleaseRequest {
                    command: command.into(),
                },
            )
            .await?;
        let class_keys = self.class_keys(reading.alias, reading.access, &release)?;
        let mut signers = Signers::default();
        let mut opened = Vec::with_capacity(release.records.len());
        for record in &release.records {
            let signer = signers.of(self.node(), record).await?;
            let path = format!(
                "/records/{}/sealed?receipt={}",
                record.record, release.entry
            );
            let blob = self.node().bytes(&path, None).await?;
            let parts = Parts {
                alias: reading.alias,
                access: reading.access,
                record,
                signer,
            };
            opened.push(self.open(&parts, &class_keys, &blob)?);
        }
        Ok(opened)
    }

    fn class_keys(
        &self,
        alias: PatientAlias,
        access: Option<AccessId>,
        release: &Release,
    ) -> Result<BTreeMap<(KeyClass, u32), Secret>> {
        let mut keys = BTreeMap::new();
        for wrap in &release.class_wraps {
            let wrap = ClassWrap {
                alias,
                class: wrap.class,
                epoch: wrap.epoch,
                recipient: self.principal(),
                access,
                wrap: wrap.wrap.0.clone(),
            };
            let key = self.unwrap(|secret| unwrap_class_key(&wrap, secret))?;
            keys.insert((wrap.class, wrap.epoch), key);
        }
        Ok(keys)
    }

    fn open(
        &self,
        parts: &Parts<'_>,
        class_keys: &BTreeMap<(KeyClass, u32), Secret>,
        blob: &[u8],
    ) -> Result<Opened> {
        let record = parts.record;
        let wrong = |what: &str| Error::NotVerified {
            record: record.record,
            what: what.into(),
        };
        let anchor: RecordAnchor = from_bytes(&record.anchor.0, ANCHOR_LIMIT, "an anchor")?;
        if anchor.record != record.record {
            return Err(wrong("the anchor is of another record"));
        }
        let payload =
            salus_crypto::hybrid::verify(parts.signer, label::MANIFEST, &record.manifest.0)?;
        let manifest: Manifest = from_bytes(&payload, MANIFEST_LIMIT, "a manifest")?;
        if manifest.alias != parts.alias || manifest.signer != record.signer {
            return Err(wrong("the signed manifest is of another patient or signer"));
        }
        let context = open::record_context(parts.alias, record.signer, &anchor);
        let key = if let Some(wrap) = &record.record_wrap {
            // Wrapped under this grant, or to this person for good (own questions, answers).
            let mut wrap = RecordWrap {
                record: record.record,
                recipient: self.principal(),
                access: parts.access,
                wrap: wrap.0.clone(),
            };
            match self.unwrap(|secret| unwrap_record_key(&wrap, secret)) {
                Err(_) if wrap.access.is_some() => {
                    wrap.access = None;
                    self.unwrap(|secret| unwrap_record_key(&wrap, secret))?
                }
                other => other?,
            }
        } else {
            let (key_wrap, epoch) = record
                .key_wrap
                .as_ref()
                .zip(record.key_epoch)
                .ok_or_else(|| wrong("there is no key wrap"))?;
            let class_key =
                class_keys
                    .get(&(anchor.class, epoch))
                    .ok_or(salus_envelope::Error::NoKey {
                        record: record.record,
                    })?;
            let context = open::key_wrap_context(parts.alias, &anchor, epoch);
            open::record_key(&context, class_key, &key_wrap.0)?
        };
        let content = open::open(&context, &anchor, &key, blob)?;
        let statement = match &record.statement {
            Some(envelope) => Some(open::check_statement(
                &anchor,
                &envelope.0,
                parts.signer,
                Some(&content),
            )?),
            None if anchor.statement.is_some() => {
                return Err(wrong("its signed statement was withheld"));
            }
            None => None,
        };
        Ok(Opened {
            anchor,
            signer: record.signer,
            statement,
            content,
            key,
        })
    }

    /// The offline proof bundle of a record (JSON), with what verifying it showed; without the genesis digest
    /// it is not verified.
    ///
    /// # Errors
    /// [`Error::NotVerified`] if the bundle does not hold or is of another record.
    pub async fn proof(&self, record: RecordId) -> Result<(Vec<u8>, Option<Report>)> {
        let bundle = self
            .node()
            .bytes(&format!("/ledger/proofs/records/{record}"), None)
            .await?;
        let report = self
            .node()
            .trust()
            .map(|trust| trust.record(record, &bundle));
        Ok((bundle.to_vec(), report.transpose()?))
    }
}

/// What belongs together when one record is opened.
struct Parts<'a> {
    alias: PatientAlias,
    access: Option<AccessId>,
    record: &'a ReleasedRecord,
    signer: &'a PeerKeys,
}

/// The keys of signers, each asked for once.
#[derive(Default)]
struct Signers(BTreeMap<(PrincipalId, Option<u64>), PeerKeys>);

impl Signers {
    /// The keys that a record's manifest was signed with: the signer's current ones, or those that it
    /// had when the record was anchored.
    async fn of(&mut self, node: &Node, record: &ReleasedRecord) -> Result<&PeerKeys> {
        let current = (record.signer, None);
        if let Entry::Vacant(unknown) = self.0.entry(current) {
            let keys = node.public_keys(record.signer).await?;
            unknown.insert(PeerKeys::parse(&keys)?);
        }
        let then = (record.signer, Some(record.entry));
        let is_current = self
            .0
            .get(&current)
            .is_some_and(|keys| signed(keys, record));
        if !is_current && !self.0.contains_key(&then) {
            self.0.insert(then, node.keys_behind(record).await?);
        }
        let found = self.0.get(if is_current { &current } else { &then });
        found.ok_or_else(|| Error::NotVerified {
            record: record.record,
            what: "its signer has no keys".into(),
        })
    }
}

/// Whether a record's manifest verifies with these keys.
pub(crate) fn signed(keys: &PeerKeys, record: &ReleasedRecord) -> bool {
    salus_crypto::hybrid::verify(keys, label::MANIFEST, &record.manifest.0).is_ok()
}
