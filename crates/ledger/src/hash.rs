//! Tagged SHA-256 over the few shapes of input that trees need.

use salus_crypto::digest::{sha256, sha256_of};
use salus_proto::Digest;

/// SHA-256 of `tag || bytes`.
pub(crate) fn tagged(tag: u8, bytes: &[u8]) -> Digest {
    sha256_of(&[&[tag], bytes])
}

/// SHA-256 of `tag || left || right`, 65 bytes.
pub(crate) fn tagged_pair(tag: u8, left: &Digest, right: &Digest) -> Digest {
    let mut input = [tag; 65];
    input[1..33].copy_from_slice(&left.0);
    input[33..].copy_from_slice(&right.0);
    sha256(&input)
}
