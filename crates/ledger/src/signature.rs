//! The two signature checks that checkpoints need.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use salus_crypto::label::CHECKPOINT;
use salus_crypto::sign::{Ed25519Verifier, MlDsa65Verifier};

/// Whether `signature` is the key's Ed25519 signature (RFC 8032) over `message` as it stands, with no
/// label before it: the form in which existing tools check notes. Keys under which one signature fits
/// many messages are no keys.
pub(crate) fn ed25519(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    Ed25519Verifier::parse(key).is_ok()
        && UnparsedPublicKey::new(&ED25519, key)
            .verify(message, signature)
            .is_ok()
}

/// Whether `signature` is the key's ML-DSA-65 signature (FIPS 204, empty context) over the label
/// `salus/v1/checkpoint`, a zero byte and `message`.
pub(crate) fn ml_dsa_65(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    MlDsa65Verifier::parse(key).is_ok_and(|key| key.verify(CHECKPOINT, message, signature).is_ok())
}
