//! Checking a batch as it arrives: nothing in it is believed that its signer did not sign.

use std::collections::BTreeSet;

use salus_crypto::digest::sha256;
use salus_crypto::hybrid::Signed;
use salus_crypto::keys::PeerKeys;
use salus_crypto::label;
use salus_proto::Digest;
use salus_proto::command::{Action, COMMAND_LIMIT, Command, SignedCommand};
use salus_proto::encode::from_bytes;
use salus_proto::ids::{BatchId, PrincipalId, RecordId};
use salus_proto::record::{
    BATCH_LIMIT, BATCH_RECORDS_LIMIT, MANIFEST_LIMIT, Manifest, NAME_LIMIT, RecordAnchor,
    SealedBatch, SealedRecord,
};
use salus_proto::sealed::{KEY_WRAP_LEN, WRAPPED_KEY_LEN};

use crate::Error;
use crate::open::check_statement;
use crate::seal::anchors_root;

/// Most record wraps that may come with a batch, per record.
const WRAPS_PER_RECORD_LIMIT: usize = 8;
/// Most class keys that may come with a batch: three classes of one epoch.
const CLASS_WRAPS_LIMIT: usize = 3;

/// Decodes an upload.
///
/// # Errors
/// [`Error::Malformed`] beyond [`BATCH_LIMIT`] or if it is not the deterministic encoding.
pub fn decode(bytes: &[u8]) -> Result<SealedBatch, Error> {
    Ok(from_bytes(bytes, BATCH_LIMIT, "a sealed batch")?)
}

/// Takes every key wrap out of a batch: what a replica gets, so that neither it nor whoever robs it
/// holds a key, wrapped or not.
pub fn without_keys(batch: &mut SealedBatch) {
    batch.class_wraps.clear();
    batch.record_wraps.clear();
    for record in &mut batch.records {
        record.key_wrap = None;
    }
}

/// Who claims to have signed a batch, before anything is verified: to look the keys up.
///
/// # Errors
/// [`Error::Shape`] or [`Error::Crypto`] if the manifest is not a signed envelope that names one.
pub fn claimed_signer(batch: &SealedBatch) -> Result<PrincipalId, Error> {
    if batch.manifest.len() > MANIFEST_LIMIT {
        return Err(shape("an oversized manifest"));
    }
    let signed = Signed::parse(&batch.manifest)?;
    let id = signed
        .key_id()
        .try_into()
        .map_err(|_| shape("a manifest that names no signer"))?;
    Ok(PrincipalId(id))
}

/// Which batch a manifest says it is, before anything is verified: to look it up on the ledger.
///
/// # Errors
/// As for [`claimed_signer`]; [`Error::Malformed`].
pub fn claimed_batch(batch: &SealedBatch) -> Result<BatchId, Error> {
    if batch.manifest.len() > MANIFEST_LIMIT {
        return Err(shape("an oversized manifest"));
    }
    Ok(payload(&Signed::parse(&batch.manifest)?)?.batch)
}

fn payload(signed: &Signed) -> Result<Manifest, Error> {
    let payload = signed.payload().ok_or_else(|| shape("an empty manifest"))?;
    Ok(from_bytes(payload, MANIFEST_LIMIT, "a manifest")?)
}

/// Verifies an upload with its signer's keys: both signatures, the anchors' root, the digest of every
/// sealed blob that came along, statements, the shape of its wraps and that every record has a way
/// to its key, and that the command anchors exactly this manifest. Whether wraps open is for whoever
/// holds the keys to see.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(batch: &SealedBatch, signer: &PeerKeys) -> Result<Manifest, Error> {
    let manifest = manifest(&batch.manifest, signer)?;
    check_content(batch, &manifest)?;
    check_wraps(batch, &manifest)?;
    for (anchor, record) in batch.anchors.iter().zip(&batch.records) {
        let Some(envelope) = &record.statement else {
            continue;
        };
        if check_statement(anchor, envelope, signer, None)?.signer != manifest.signer {
            return Err(Error::Statement {
                record: anchor.record,
            });
        }
    }
    Ok(manifest)
}

/// Verifies what a replica gets: the batch whose signed manifest has this digest on the ledger, as
/// uploaded but without any key wrap ([`without_keys`]). Its signer's keys may have changed since it
/// was anchored, so the ledger's digest stands for the signatures, which the custodian verified.
///
/// # Errors
/// The first thing that is wrong; [`Error::NotAnchored`] if it is another manifest.
pub fn verify_replica(batch: &SealedBatch, anchored: Digest) -> Result<Manifest, Error> {
    if batch.manifest.len() > MANIFEST_LIMIT || sha256(&batch.manifest) != anchored {
        return Err(Error::NotAnchored);
    }
    let manifest = payload(&Signed::parse(&batch.manifest)?)?;
    check_content(batch, &manifest)?;
    check_no_wraps(batch)?;
    Ok(manifest)
}

/// What holds for an upload and for a replica: lists, the anchors' root, digests, the command.
fn check_content(batch: &SealedBatch, manifest: &Manifest) -> Result<(), Error> {
    check_lists(batch, manifest)?;
    if anchors_root(&batch.anchors) != manifest.anchors_root {
        return Err(Error::AnchorsRoot);
    }
    for (anchor, record) in batch.anchors.iter().zip(&batch.records) {
        check_digests(anchor, record)?;
    }
    check_command(batch, manifest)
}

/// Verifies a signed manifest with its signer's keys.
///
/// # Errors
/// [`Error::Crypto`], [`Error::Malformed`], or [`Error::Shape`] if it was signed in another's name.
pub fn manifest(envelope: &[u8], signer: &PeerKeys) -> Result<Manifest, Error> {
    if envelope.len() > MANIFEST_LIMIT {
        return Err(shape("an oversized manifest"));
    }
    let signed = Signed::parse(envelope)?;
    let key_id = signed.key_id().to_vec();
    let payload = signed.verify(signer, label::MANIFEST)?;
    let manifest: Manifest = from_bytes(&payload, MANIFEST_LIMIT, "a manifest")?;
    if key_id != manifest.signer.as_bytes() {
        return Err(shape("a manifest signed in another's name"));
    }
    Ok(manifest)
}

/// Lengths, and that every record stands in the batch once.
fn check_lists(batch: &SealedBatch, manifest: &Manifest) -> Result<(), Error> {
    let count = batch.anchors.len();
    if count == 0 || count > BATCH_RECORDS_LIMIT || manifest.count as usize != count {
        return Err(shape("a number of anchors other than signed for"));
    }
    if batch.records.len() != count {
        return Err(shape("records and anchors of different number"));
    }
    if batch
        .name
        .as_ref()
        .is_some_and(|n| n.len() > NAME_LIMIT || n.chars().any(char::is_control))
    {
        return Err(shape("a name that is too long or has control characters"));
    }
    let distinct: BTreeSet<RecordId> = batch.anchors.iter().map(|a| a.record).collect();
    if distinct.len() != count {
        return Err(shape("a record that stands in it twice"));
    }
    if batch.anchors.iter().any(|a| a.version == 0) {
        return Err(shape("a record of version 0"));
    }
    Ok(())
}

fn check_digests(anchor: &RecordAnchor, record: &SealedRecord) -> Result<(), Error> {
    if let Some(blob) = &record.blob
        && (blob.len() as u64 != anchor.length || sha256(blob) != anchor.ciphertext)
    {
        return Err(Error::Ciphertext {
            record: anchor.record,
        });
    }
    if record.statement.as_deref().map(sha256) == anchor.statement {
        Ok(())
    } else {
        Err(Error::Statement {
            record: anchor.record,
        })
    }
}

/// Every record has a way to its key, and every wrap is about this batch.
fn check_wraps(batch: &SealedBatch, manifest: &Manifest) -> Result<(), Error> {
    let limit = batch.anchors.len() * WRAPS_PER_RECORD_LIMIT;
    if batch.class_wraps.len() > CLASS_WRAPS_LIMIT || batch.record_wraps.len() > limit {
        return Err(shape("too many key wraps"));
    }
    let lengths = batch.class_wraps.iter().map(|w| w.wrap.len());
    let wrong_length = lengths
        .chain(batch.record_wraps.iter().map(|w| w.wrap.len()))
        .any(|n| n != WRAPPED_KEY_LEN)
        || batch
            .records
            .iter()
            .filter_map(|r| r.key_wrap.as_ref())
            .any(|w| w.len() != KEY_WRAP_LEN);
    if wrong_length {
        return Err(shape("a key wrap of the wrong length"));
    }
    let custodian = PrincipalId(manifest.organisation.0);
    if batch
        .class_wraps
        .iter()
        .any(|w| w.alias != manifest.alias || w.recipient != custodian || w.access.is_some())
    {
        return Err(shape("class keys of another patient or for another holder"));
    }
    let shared: BTreeSet<RecordId> = batch.record_wraps.iter().map(|w| w.record).collect();
    for (anchor, record) in batch.anchors.iter().zip(&batch.records) {
        let under_class_key = anchor.epoch > 0;
        let reachable = under_class_key || shared.contains(&anchor.record);
        if under_class_key != record.key_wrap.is_some() || !reachable {
            return Err(shape("a record without a way to its key"));
        }
    }
    let listed: BTreeSet<RecordId> = batch.anchors.iter().map(|a| a.record).collect();
    if !shared.is_subset(&listed) {
        return Err(shape("a key wrap of a record that it does not hold"));
    }
    Ok(())
}

fn check_no_wraps(batch: &SealedBatch) -> Result<(), Error> {
    let none = batch.class_wraps.is_empty()
        && batch.record_wraps.is_empty()
        && batch.records.iter().all(|r| r.key_wrap.is_none());
    none.then_some(())
        .ok_or_else(|| shape("key wraps, which a replica must not get"))
}

/// The command's signature is the ledger's business; that it is about this manifest is checked here.
fn check_command(batch: &SealedBatch, manifest: &Manifest) -> Result<(), Error> {
    let signed: SignedCommand = from_bytes(&batch.command, COMMAND_LIMIT, "a signed command")?;
    let command: Command = from_bytes(&signed.command, COMMAND_LIMIT, "a command")?;
    let anchors_this = matches!(
        command.action,
        Action::AnchorBatch { batch: id, alias, manifest: digest, anchors_root, count, .. }
            if id == manifest.batch
                && alias == manifest.alias
                && digest == sha256(&batch.manifest)
                && anchors_root == manifest.anchors_root
                && count == manifest.count
    );
    if !anchors_this || command.principal != manifest.signer {
        return Err(shape("a command that anchors something else"));
    }
    Ok(())
}

fn shape(what: &'static str) -> Error {
    Error::Shape { what }
}
