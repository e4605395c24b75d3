//! Wrapping keys to people: class keys for a grant, single record keys for "share just this".

use salus_crypto::digest::Secret;
use salus_crypto::label;
use salus_crypto::wrap::{Recipient, XWingSecret, wrap_key_under};
use salus_proto::Entropy;
use salus_proto::encode::to_bytes;
use salus_proto::ids::{AccessId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::{
    ClassWrap, ClassWrapContext, KeyClass, KeyWrapContext, RecordWrap, RecordWrapContext,
};

use crate::Error;

/// Somebody who shall be able to open a record, and under which grant.
#[derive(Clone, Copy, Debug)]
pub struct RecordKeyOf<'a> {
    /// Who.
    pub recipient: PrincipalId,
    /// Their X-Wing key.
    pub key: &'a Recipient,
    /// The grant or consultation's access; none for authors and the custodian.
    pub access: Option<AccessId>,
}

/// Wraps a class key to a recipient.
///
/// # Errors
/// None for keys of 32 bytes; the type follows the library's.
pub fn wrap_class_key(
    context: &ClassWrapContext,
    class_key: &Secret,
    recipient: &Recipient,
    entropy: &mut dyn Entropy,
) -> Result<ClassWrap, Error> {
    let wrap = recipient.wrap_key(
        label::CLASS_KEY_WRAP,
        &to_bytes(context),
        class_key,
        entropy,
    )?;
    Ok(ClassWrap {
        alias: context.alias,
        class: context.class,
        epoch: context.epoch,
        recipient: context.recipient,
        access: context.access,
        wrap,
    })
}

/// Opens a class key that was wrapped to the holder of `secret`.
///
/// # Errors
/// [`Error::Crypto`] if it was wrapped to another, for another purpose, or altered.
pub fn unwrap_class_key(wrap: &ClassWrap, secret: &XWingSecret) -> Result<Secret, Error> {
    let context = ClassWrapContext {
        alias: wrap.alias,
        class: wrap.class,
        epoch: wrap.epoch,
        recipient: wrap.recipient,
        access: wrap.access,
    };
    Ok(secret.unwrap_key(label::CLASS_KEY_WRAP, &to_bytes(&context), &wrap.wrap)?)
}

/// Wraps a record key under a class key: 60 bytes.
///
/// # Errors
/// None for keys of 32 bytes; the type follows the library's.
pub fn wrap_record_key_under(
    context: &KeyWrapContext,
    class_key: &Secret,
    key: &Secret,
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, Error> {
    let wrap = wrap_key_under(
        class_key,
        label::RECORD_KEY,
        &to_bytes(context),
        key,
        entropy,
    )?;
    Ok(wrap.to_vec())
}

/// Wraps one record's key to a recipient.
///
/// # Errors
/// None for keys of 32 bytes; the type follows the library's.
pub fn wrap_record_key(
    record: RecordId,
    key: &Secret,
    to: &RecordKeyOf<'_>,
    entropy: &mut dyn Entropy,
) -> Result<RecordWrap, Error> {
    let context = RecordWrapContext {
        record,
        recipient: to.recipient,
        access: to.access,
    };
    let wrap = to
        .key
        .wrap_key(label::RECORD_KEY_WRAP, &to_bytes(&context), key, entropy)?;
    Ok(RecordWrap {
        record,
        recipient: to.recipient,
        access: to.access,
        wrap,
    })
}

/// Opens a record key that was wrapped to the holder of `secret`.
///
/// # Errors
/// [`Error::Crypto`] if it was wrapped to another, for another purpose, or altered.
pub fn unwrap_record_key(wrap: &RecordWrap, secret: &XWingSecret) -> Result<Secret, Error> {
    let context = RecordWrapContext {
        record: wrap.record,
        recipient: wrap.recipient,
        access: wrap.access,
    };
    Ok(secret.unwrap_key(label::RECORD_KEY_WRAP, &to_bytes(&context), &wrap.wrap)?)
}

/// Fresh class keys for a new patient, wrapped to the custodian.
pub struct FreshClassKeys {
    /// The keys of epoch 1, by class in the order of [`KeyClass::ALL`].
    pub keys: [Secret; 3],
    /// The same, wrapped to the custodian.
    pub wraps: Vec<ClassWrap>,
}

impl core::fmt::Debug for FreshClassKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FreshClassKeys")
    }
}

/// Makes the three class keys of a new patient (epoch 1) and wraps them to the custodian.
///
/// # Errors
/// None for keys of 32 bytes; the type follows the library's.
pub fn fresh_class_keys(
    alias: PatientAlias,
    custodian: PrincipalId,
    custodian_key: &Recipient,
    entropy: &mut dyn Entropy,
) -> Result<FreshClassKeys, Error> {
    let keys = KeyClass::ALL.map(|_| salus_crypto::keys::random_secret(entropy));
    let mut wraps = Vec::with_capacity(keys.len());
    for (class, key) in KeyClass::ALL.into_iter().zip(&keys) {
        let context = ClassWrapContext {
            alias,
            class,
            epoch: 1,
            recipient: custodian,
            access: None,
        };
        wraps.push(wrap_class_key(&context, key, custodian_key, entropy)?);
    }
    Ok(FreshClassKeys { keys, wraps })
}
