//! Checking a batch as it arrives: nothing in it is believed that its signer did not sign.

use salus_crypto::digest::sha256;
use salus_crypto::hybrid::Signed;
use salus_crypto::keys::PeerKeys;
use salus_crypto::label;
use salus_proto::command::{Action, COMMAND_LIMIT, Command, SignedCommand};
use salus_proto::encode::from_bytes;
use salus_proto::ids::PrincipalId;
use salus_proto::record::{
    BATCH_LIMIT, BATCH_RECORDS_LIMIT, MANIFEST_LIMIT, Manifest, NAME_LIMIT, SealedBatch,
};

use crate::Error;
use crate::open::check_statement;
use crate::seal::anchors_root;

/// Length of a record key wrapped under a class key.
const KEY_WRAP_LEN: usize = 60;
/// Length of an HPKE wrap of a key.
const HPKE_WRAP_LEN: usize = 1168;
/// Most key wraps that may come with a batch, per record.
const WRAPS_PER_RECORD_LIMIT: usize = 8;

/// Decodes an upload.
pub fn decode(bytes: &[u8]) -> Result<SealedBatch, Error> {
    Ok(from_bytes(bytes, BATCH_LIMIT, "a sealed batch")?)
}

/// Who claims to have signed a batch, before anything is verified: to look the keys up.
pub fn claimed_signer(batch: &SealedBatch) -> Result<PrincipalId, Error> {
    if batch.manifest.len() > MANIFEST_LIMIT {
        return Err(Error::Shape {
            what: "an oversized manifest",
        });
    }
    let signed = Signed::parse(&batch.manifest)?;
    let id = signed
        .key_id()
        .try_into()
        .map_err(|_| Error::Shape { what: "no signer" })?;
    Ok(PrincipalId(id))
}

/// Verifies a batch with its signer's keys: both signatures, the anchors' root, the digest of every
/// sealed blob that came along, statements, lengths of wraps, and that the command anchors exactly
/// this manifest.
pub fn verify(batch: &SealedBatch, signer: &PeerKeys) -> Result<Manifest, Error> {
    let payload = salus_crypto::hybrid::verify(signer, label::MANIFEST, &batch.manifest)?;
    let manifest: Manifest = from_bytes(&payload, MANIFEST_LIMIT, "a manifest")?;
    if claimed_signer(batch)? != manifest.signer {
        return Err(Error::Shape {
            what: "a manifest signed in another's name",
        });
    }
    let count = batch.anchors.len();
    if count == 0 || count > BATCH_RECORDS_LIMIT || manifest.count as usize != count {
        return Err(Error::Shape {
            what: "a number of anchors other than signed for",
        });
    }
    if batch.records.len() != count {
        return Err(Error::Shape {
            what: "records and anchors of different number",
        });
    }
    if batch.class_wraps.len() + batch.record_wraps.len() > count * WRAPS_PER_RECORD_LIMIT + 16 {
        return Err(Error::Shape {
            what: "too many key wraps",
        });
    }
    if batch
        .name
        .as_ref()
        .is_some_and(|n| n.len() > NAME_LIMIT || n.chars().any(char::is_control))
    {
        return Err(Error::Shape {
            what: "a name that is too long or has control characters",
        });
    }
    if anchors_root(&batch.anchors) != manifest.anchors_root {
        return Err(Error::AnchorsRoot);
    }
    for (anchor, record) in batch.anchors.iter().zip(&batch.records) {
        if let Some(blob) = &record.blob
            && (blob.len() as u64 != anchor.length || sha256(blob) != anchor.ciphertext)
        {
            return Err(Error::Ciphertext {
                record: anchor.record,
            });
        }
        match (&record.statement, anchor.statement) {
            (Some(envelope), Some(_)) => {
                let statement = check_statement(anchor, envelope, signer, None)?;
                if statement.signer != manifest.signer {
                    return Err(Error::Statement {
                        record: anchor.record,
                    });
                }
            }
            (None, None) => {}
            _ => {
                return Err(Error::Statement {
                    record: anchor.record,
                });
            }
        }
        if record
            .key_wrap
            .as_ref()
            .is_some_and(|w| w.len() != KEY_WRAP_LEN)
        {
            return Err(Error::Shape {
                what: "a key wrap of the wrong length",
            });
        }
    }
    let wraps = batch.class_wraps.iter().map(|w| w.wrap.len());
    if wraps
        .chain(batch.record_wraps.iter().map(|w| w.wrap.len()))
        .any(|n| n != HPKE_WRAP_LEN)
    {
        return Err(Error::Shape {
            what: "a key wrap of the wrong length",
        });
    }
    if batch.class_wraps.iter().any(|w| w.alias != manifest.alias) {
        return Err(Error::Shape {
            what: "class keys of another patient",
        });
    }
    check_command(batch, &manifest)?;
    Ok(manifest)
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
        return Err(Error::Shape {
            what: "a command that anchors something else",
        });
    }
    Ok(())
}
