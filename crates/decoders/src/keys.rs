//! The keys of the golden vectors, so that what is decoded can also be verified and opened.

use std::sync::LazyLock;

use salus_crypto::keys::{PeerKeys, SecretKeys};

fn peer(seeds: [u8; 3]) -> Option<PeerKeys> {
    let [ed25519, ml_dsa_65, x_wing] = seeds.map(|byte| [byte; 32]);
    let keys = SecretKeys::from_seeds(&ed25519, &ml_dsa_65, &x_wing).ok()?;
    PeerKeys::parse(keys.public()).ok()
}

/// Who signed the envelopes of `crypto/signatures.json`.
pub(crate) static SIGNER: LazyLock<Option<PeerKeys>> = LazyLock::new(|| peer([0x01, 0x11, 0x21]));
/// The hospital of `record/batch.json`.
pub(crate) static HOSPITAL: LazyLock<Option<PeerKeys>> = LazyLock::new(|| peer([1, 2, 3]));
