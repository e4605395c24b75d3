//! The two signature checks that checkpoints need.

use aws_lc_rs::signature::{ED25519, ML_DSA_65, UnparsedPublicKey};

/// Whether `signature` is the key's Ed25519 signature (RFC 8032) over `message`.
pub(crate) fn ed25519(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key)
        .verify(message, signature)
        .is_ok()
}

/// Whether `signature` is the key's ML-DSA-65 signature (FIPS 204, empty context) over the label
/// `salus/v1/checkpoint`, a zero byte and `message`.
pub(crate) fn ml_dsa_65(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let labelled = [b"salus/v1/checkpoint\0", message].concat();
    UnparsedPublicKey::new(&ML_DSA_65, key)
        .verify(&labelled, signature)
        .is_ok()
}
