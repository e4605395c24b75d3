//! SHA-256, HMAC-SHA-256 and HKDF-SHA-256, by aws-lc-rs.

use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use salus_proto::Digest;
use zeroize::Zeroizing;

use crate::label::Label;

/// A 32-byte secret, wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// SHA-256 (FIPS 180-4) of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    from_lc(&digest::digest(&digest::SHA256, bytes))
}

/// SHA-256 over several pieces, as if they were one.
pub fn sha256_of(pieces: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finish()
}

/// SHA-256 in steps.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Digest {
        from_lc(&self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sha256")
    }
}

impl std::io::Write for Sha256 {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// HMAC-SHA-256 (RFC 2104) of the pieces, as if they were one message.
pub fn hmac_sha256(key: &[u8], pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for piece in pieces {
        context.update(piece);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// Commits to `message` under a random salt: HMAC-SHA-256(salt, label COMMITMENT || message). Once
/// the salt is destroyed the commitment says nothing.
pub fn salted_commitment(salt: &[u8; 32], message: &[u8]) -> Digest {
    Digest(hmac_sha256(
        salt,
        &[crate::label::COMMITMENT.as_bytes(), message],
    ))
}

/// Compares in time that depends on the lengths only.
pub fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// HKDF-SHA-256 (RFC 5869) to 32 bytes: extract with `salt`, expand with info = label || `context`.
///
/// # Panics
/// Never: 32 bytes are within HKDF's limit.
pub fn derive(secret: &[u8], salt: &[u8], label: Label, context: &[u8]) -> Secret {
    struct Len32;
    impl hkdf::KeyType for Len32 {
        fn len(&self) -> usize {
            32
        }
    }
    let mut out = Zeroizing::new([0; 32]);
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let info = [label.as_bytes(), context];
    #[expect(
        clippy::expect_used,
        reason = "32 bytes are within HKDF's limit of 8,160, the only refusal there is"
    )]
    prk.expand(&info, Len32)
        .and_then(|okm| okm.fill(&mut *out))
        .expect("HKDF of 32 bytes");
    out
}

fn from_lc(digest: &digest::Digest) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    Digest(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_answers_fips_180_and_steps_agree() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc").to_string(), known);
        assert_eq!(sha256_of(&[b"a", b"", b"bc"]).to_string(), known);
    }

    #[test]
    fn hmac_answers_rfc_4231_case_2() {
        assert_eq!(
            hex::encode(hmac_sha256(
                b"Jefe",
                &[b"what do ya ", b"want for nothing?"]
            )),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn derivation_equals_hkdf_spelled_out_in_hmac() {
        let (secret, salt, context) = ([7u8; 32], [9u8; 32], b"context");
        let prk = hmac_sha256(&salt, &[&secret]);
        let info = crate::label::STREAM_KEY.as_bytes();
        let expected = hmac_sha256(&prk, &[info, context, &[1]]);
        assert_eq!(
            *derive(&secret, &salt, crate::label::STREAM_KEY, context),
            expected
        );
    }

    #[test]
    fn an_empty_salt_is_thirty_two_zeros_as_rfc_5869_says() {
        let a = derive(b"secret", &[], crate::label::STREAM_KEY, b"");
        let b = derive(b"secret", &[0; 32], crate::label::STREAM_KEY, b"");
        assert_eq!(*a, *b);
    }
}
