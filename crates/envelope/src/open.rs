//! Opening a sealed record and checking what was signed about it.

use salus_crypto::digest::{Secret, sha256};
use salus_crypto::keys::PeerKeys;
use salus_crypto::{hybrid, label, seal, wrap};
use salus_proto::encode::{from_bytes, to_bytes};
use salus_proto::ids::{PatientAlias, PrincipalId};
use salus_proto::record::{Content, MANIFEST_LIMIT, RecordAnchor, RecordContext, Statement};

use crate::Error;
use crate::seal::content_digest;

/// Largest record content that is opened in memory: 2 GiB would be a mistake, not a record.
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

/// The record key out of its wrap under the class key.
pub fn record_key(
    context: &RecordContext,
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

/// Opens a sealed record after checking that it is the one that was anchored.
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
    let plaintext = seal::open(key, &to_bytes(context), blob)?;
    Ok(from_bytes(&plaintext, CONTENT_LIMIT, "a record's content")?)
}

/// Checks a signed statement (both signatures) against its anchor and, if given, the plaintext.
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
