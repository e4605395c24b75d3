//! Opening a sealed record and checking what was signed about it.

use salus_crypto::digest::{Secret, sha256};
use salus_crypto::keys::PeerKeys;
use salus_crypto::{hybrid, label, seal, wrap};
use salus_proto::encode::{from_bytes, to_bytes};
use salus_proto::ids::{PatientAlias, PrincipalId};
use salus_proto::record::{
    Content, KeyWrapContext, MANIFEST_LIMIT, RecordAnchor, RecordContext, Statement,
};

use zeroize::Zeroizing;

use crate::Error;
use crate::seal::content_digest;

/// Largest record content that is opened in memory, in bytes: larger ones are read chunk by chunk.
const CONTENT_LIMIT: usize = 1 << 30;

/// What a record is bound to, from its anchor.
pub fn record_context(
    alias: PatientAlias,
    signer: PrincipalId,
    anchor: &RecordAnchor,
) -> RecordContext {
    RecordContext {
        alias,
        record: anchor.record,
        version: anchor.version,
        class: anchor.class,
        epoch: anchor.epoch,
        kind: anchor.kind,
        signer,
    }
}

/// What a record key's wrap is bound to, under the class key of `epoch`: the anchored epoch at
/// first, a later one once an access to the class was revoked.
pub fn key_wrap_context(alias: PatientAlias, anchor: &RecordAnchor, epoch: u32) -> KeyWrapContext {
    KeyWrapContext {
        alias,
        record: anchor.record,
        version: anchor.version,
        class: anchor.class,
        epoch,
    }
}

/// The record key out of its wrap under the class key.
///
/// # Errors
/// [`Error::Crypto`] if key or context is another or the wrap was altered.
pub fn record_key(
    context: &KeyWrapContext,
    class_key: &Secret,
    key_wrap: &[u8],
) -> Result<Secret, Error> {
    Ok(wrap::unwrap_key_under(
        class_key,
        label::RECORD_KEY,
        &to_bytes(context),
        key_wrap,
    )?)
}

/// Checks, without decrypting, that sealed bytes were sealed under this key for this context: the
/// opening of `blob` holds a commitment to both. `blob` may be cut after its prelude.
///
/// # Errors
/// [`Error::Crypto`]: the key is another, or the bytes belong to another record or patient.
pub fn check_binding(context: &RecordContext, key: &Secret, blob: &[u8]) -> Result<(), Error> {
    let (prelude, _) = seal::split_prelude(blob)?;
    seal::Opener::new(key, &to_bytes(context), prelude)?;
    Ok(())
}

/// Opens a sealed record after checking that it is the one that was anchored.
///
/// # Errors
/// [`Error::Ciphertext`] if the bytes are not those of the anchor; [`Error::Crypto`] if the key is
/// another or the context is; [`Error::Malformed`] if the plaintext is no [`Content`].
pub fn open(
    context: &RecordContext,
    anchor: &RecordAnchor,
    key: &Secret,
    blob: &[u8],
) -> Result<Content, Error> {
    if sha256(blob) != anchor.ciphertext {
        return Err(Error::Ciphertext {
            record: anchor.record,
        });
    }
    let plaintext = Zeroizing::new(seal::open(key, &to_bytes(context), blob)?);
    Ok(from_bytes(&plaintext, CONTENT_LIMIT, "a record's content")?)
}

/// Checks a signed statement (both signatures) against its anchor and, if given, the plaintext.
///
/// # Errors
/// [`Error::Statement`] if it is about something else; [`Error::Crypto`] if a signature is wrong.
pub fn check_statement(
    anchor: &RecordAnchor,
    envelope: &[u8],
    signer: &PeerKeys,
    content: Option<&Content>,
) -> Result<Statement, Error> {
    let mismatch = || Error::Statement {
        record: anchor.record,
    };
    if envelope.len() > MANIFEST_LIMIT || anchor.statement != Some(sha256(envelope)) {
        return Err(mismatch());
    }
    let payload = hybrid::verify(signer, label::DOCUMENT, envelope)?;
    let statement: Statement = from_bytes(&payload, MANIFEST_LIMIT, "a statement")?;
    let about_this = statement.record == anchor.record
        && statement.kind == anchor.kind
        && content.is_none_or(|c| {
            statement.content == content_digest(c) && statement.media_type == c.media_type
        });
    if about_this {
        Ok(statement)
    } else {
        Err(mismatch())
    }
}
