//! SHA-256 over the few shapes of input that trees need.

use aws_lc_rs::digest::{Context, SHA256, digest};
use salus_proto::Digest;

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    finished(&digest(&SHA256, bytes))
}

/// SHA-256 of `tag || bytes`.
pub(crate) fn tagged(tag: u8, bytes: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(&[tag]);
    context.update(bytes);
    finished(&context.finish())
}

/// SHA-256 of `tag || left || right`, 65 bytes.
pub(crate) fn tagged_pair(tag: u8, left: &Digest, right: &Digest) -> Digest {
    let mut input = [tag; 65];
    input[1..33].copy_from_slice(&left.0);
    input[33..].copy_from_slice(&right.0);
    sha256(&input)
}

fn finished(value: &aws_lc_rs::digest::Digest) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(value.as_ref());
    Digest(out)
}
