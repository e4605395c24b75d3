//! Building a batch: every record sealed under a fresh key, anchored, and signed for.

use salus_crypto::digest::{Secret, sha256, sha256_of};
use salus_crypto::keys::{SecretKeys, random_secret};
use salus_crypto::{hybrid, label, seal};
use salus_ledger::proof::MemoryTree;
use salus_proto::command::{Action, Command, SignedCommand};
use salus_proto::encode::to_bytes;
use salus_proto::ids::{
    BatchId, ConsortiumId, ConsultationId, OrganisationId, PatientAlias, PrincipalId, RecordId,
};
use salus_proto::record::{
    BATCH_RECORDS_LIMIT, ClassWrap, Content, KeyClass, KeyWrapContext, Manifest, RecordAnchor,
    RecordContext, RecordKind, RecordWrap, SealedBatch, SealedRecord, Statement,
};
use salus_proto::{Digest, Entropy, TimestampMs};

use crate::Error;
use crate::share::{RecordKeyOf, wrap_record_key, wrap_record_key_under};

/// How long a command that anchors a batch stays valid.
const COMMAND_VALIDITY_MS: u64 = 3_600_000;

/// A person or organisation that seals and signs.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// The consortium that its commands are for.
    pub consortium: ConsortiumId,
    /// Who signs.
    pub principal: PrincipalId,
    /// With what.
    pub keys: &'a SecretKeys,
}

impl Author<'_> {
    /// Signs a command of this author.
    pub fn command(&self, sequence: u64, expires: TimestampMs, action: Action) -> Vec<u8> {
        let command = Command {
            consortium: self.consortium,
            principal: self.principal,
            sequence,
            expires,
            action,
        };
        let command = to_bytes(&command);
        let signature = self.keys.ed25519().sign(label::COMMAND, &command);
        to_bytes(&SignedCommand { command, signature })
    }
}

/// One record to be sealed.
#[derive(Debug)]
pub struct Item {
    /// A fresh id, or the id of the record that this is a new version of.
    pub record: RecordId,
    /// 1, or one more than the version it follows.
    pub version: u32,
    /// What it is.
    pub kind: RecordKind,
    /// Which class key opens it.
    pub class: KeyClass,
    /// The plaintext.
    pub content: Content,
    /// Whether the author signs a [`Statement`] about the plaintext.
    pub signed: bool,
}

/// The class key that new records of a class are wrapped under.
#[derive(Clone, Copy)]
pub struct ClassKey<'a> {
    /// Its epoch.
    pub epoch: u32,
    /// The key.
    pub key: &'a Secret,
}

impl core::fmt::Debug for ClassKey<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ClassKey(epoch {})", self.epoch)
    }
}

/// A batch in the making.
pub struct BatchBuilder<'a> {
    author: Author<'a>,
    organisation: OrganisationId,
    alias: PatientAlias,
    batch: BatchId,
    created: TimestampMs,
    anchors: Vec<RecordAnchor>,
    records: Vec<SealedRecord>,
    class_wraps: Vec<ClassWrap>,
    record_wraps: Vec<RecordWrap>,
    name: Option<String>,
}

impl core::fmt::Debug for BatchBuilder<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BatchBuilder")
            .field("records", &self.records.len())
            .finish_non_exhaustive()
    }
}

impl<'a> BatchBuilder<'a> {
    /// An empty batch for `alias`, whose records `organisation` keeps.
    pub fn new(
        author: Author<'a>,
        organisation: OrganisationId,
        alias: PatientAlias,
        batch: BatchId,
        created: TimestampMs,
    ) -> Self {
        Self {
            author,
            organisation,
            alias,
            batch,
            created,
            anchors: Vec::new(),
            records: Vec::new(),
            class_wraps: Vec::new(),
            record_wraps: Vec::new(),
            name: None,
        }
    }

    /// The patient's clear name, in the default profile.
    pub fn name(&mut self, name: String) {
        self.name = Some(name);
    }

    /// Class keys that are new with this batch, wrapped to the custodian.
    pub fn class_wraps(&mut self, wraps: Vec<ClassWrap>) {
        self.class_wraps.extend(wraps);
    }

    /// Number of records so far.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records yet.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Seals a record and wraps its key under a class key.
    ///
    /// # Errors
    /// [`Error::Shape`] when the batch is full or the epoch is 0.
    pub fn add(
        &mut self,
        item: &Item,
        class_key: ClassKey<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Error> {
        if class_key.epoch == 0 {
            return Err(Error::Shape {
                what: "a class key of epoch 0",
            });
        }
        let key = random_secret(entropy);
        let context = KeyWrapContext {
            alias: self.alias,
            record: item.record,
            version: item.version,
            class: item.class,
            epoch: class_key.epoch,
        };
        let key_wrap = wrap_record_key_under(&context, class_key.key, &key, entropy)?;
        self.seal(item, class_key.epoch, &key, Some(key_wrap), entropy)
    }

    /// Seals a record and wraps its key to single recipients: consultations, where the author does
    /// not hold the class key. Its anchored epoch is 0.
    ///
    /// # Errors
    /// [`Error::Shape`] when the batch is full or there are no recipients.
    pub fn add_for(
        &mut self,
        item: &Item,
        recipients: &[RecordKeyOf<'_>],
        entropy: &mut dyn Entropy,
    ) -> Result<(), Error> {
        if recipients.is_empty() {
            return Err(Error::Shape {
                what: "a record without a way to its key",
            });
        }
        let record = item.record;
        let key = random_secret(entropy);
        self.seal(item, 0, &key, None, entropy)?;
        for recipient in recipients {
            self.record_wraps
                .push(wrap_record_key(record, &key, recipient, entropy)?);
        }
        Ok(())
    }

    fn seal(
        &mut self,
        item: &Item,
        epoch: u32,
        key: &Secret,
        key_wrap: Option<Vec<u8>>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Error> {
        if self.records.len() >= BATCH_RECORDS_LIMIT {
            return Err(Error::Shape {
                what: "too many records",
            });
        }
        let statement = if item.signed {
            Some(self.statement(item)?)
        } else {
            None
        };
        let context = RecordContext {
            alias: self.alias,
            record: item.record,
            version: item.version,
            class: item.class,
            epoch,
            kind: item.kind,
            signer: self.author.principal,
        };
        let plaintext = zeroize::Zeroizing::new(to_bytes(&item.content));
        let blob = seal::seal(key, &to_bytes(&context), &plaintext, entropy)?;
        self.anchors.push(RecordAnchor {
            record: item.record,
            version: item.version,
            class: item.class,
            epoch,
            kind: item.kind,
            ciphertext: sha256(&blob),
            length: blob.len() as u64,
            statement: statement.as_deref().map(sha256),
        });
        self.records.push(SealedRecord {
            key_wrap,
            statement,
            blob: Some(blob),
        });
        Ok(())
    }

    fn statement(&self, item: &Item) -> Result<Vec<u8>, Error> {
        let statement = Statement {
            record: item.record,
            kind: item.kind,
            media_type: item.content.media_type.clone(),
            content: content_digest(&item.content),
            signer: self.author.principal,
            signed: self.created,
        };
        Ok(hybrid::sign(
            self.author.keys,
            label::DOCUMENT,
            self.author.principal.as_bytes(),
            &to_bytes(&statement),
        )?)
    }

    /// Signs the manifest and the command that anchors it.
    ///
    /// # Errors
    /// [`Error::Shape`] without records; [`Error::Crypto`] if the library fails to sign.
    pub fn finish(
        self,
        sequence: u64,
        consultation: Option<ConsultationId>,
    ) -> Result<SealedBatch, Error> {
        let anchors_root = anchors_root(&self.anchors);
        let Ok(count @ 1..) = u32::try_from(self.anchors.len()) else {
            return Err(Error::Shape { what: "no records" });
        };
        let manifest = Manifest {
            batch: self.batch,
            alias: self.alias,
            organisation: self.organisation,
            signer: self.author.principal,
            created: self.created,
            anchors_root,
            count,
        };
        let manifest = hybrid::sign(
            self.author.keys,
            label::MANIFEST,
            self.author.principal.as_bytes(),
            &to_bytes(&manifest),
        )?;
        let command = self.author.command(
            sequence,
            self.created.plus_ms(COMMAND_VALIDITY_MS),
            Action::AnchorBatch {
                batch: self.batch,
                alias: self.alias,
                manifest: sha256(&manifest),
                anchors_root,
                count,
                consultation,
            },
        );
        Ok(SealedBatch {
            manifest,
            anchors: self.anchors,
            records: self.records,
            class_wraps: self.class_wraps,
            record_wraps: self.record_wraps,
            name: self.name,
            command,
        })
    }
}

/// Takes out of a batch the sealed bytes of records longer than `longest` bytes, with their digests:
/// they are uploaded by themselves, in parts, before the batch.
pub fn detach_blobs(batch: &mut SealedBatch, longest: usize) -> Vec<(Digest, Vec<u8>)> {
    let records = batch.anchors.iter().zip(&mut batch.records);
    records
        .filter_map(|(anchor, record)| {
            let blob = record.blob.take_if(|blob| blob.len() > longest)?;
            Some((anchor.ciphertext, blob))
        })
        .collect()
}

/// The RFC 9162 tree root over the encoded anchors.
pub fn anchors_root(anchors: &[RecordAnchor]) -> Digest {
    anchors_tree(anchors).root()
}

/// The RFC 9162 tree over the encoded anchors.
pub fn anchors_tree(anchors: &[RecordAnchor]) -> MemoryTree {
    let leaves: Vec<Vec<u8>> = anchors.iter().map(to_bytes).collect();
    MemoryTree::from_entries(leaves.iter().map(Vec::as_slice))
}

/// What a statement says about a plaintext: SHA-256 of salt and body.
pub fn content_digest(content: &Content) -> Digest {
    sha256_of(&[&content.salt, &content.body])
}
