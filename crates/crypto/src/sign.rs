//! Single signatures over labelled messages: Ed25519 (RFC 8032) and ML-DSA-65 (FIPS 204, empty
//! context), signed and verified by aws-lc-rs only, because nodes must agree on every signature.
//!
//! What is signed is label || message; see [`crate::label`].

use core::num::NonZeroUsize;

use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair as _, ML_DSA_65, ML_DSA_65_SIGNING, ParsedPublicKey,
    PqdsaKeyPair,
};
use curve25519_dalek::edwards::CompressedEdwardsY;

use crate::{Error, Label};

const ED25519_NAME: &str = "Ed25519";
const ML_DSA_65_NAME: &str = "ML-DSA-65";

/// Bytes of an ML-DSA-65 signature (FIPS 204, table 2).
pub const ML_DSA_65_SIGNATURE_LEN: usize = 3309;

/// An Ed25519 secret key, wiped when dropped.
pub struct Ed25519Signer(Ed25519KeyPair);

impl Ed25519Signer {
    /// The key of a 32-byte seed.
    ///
    /// # Errors
    /// [`Error::SecretKey`] if the library is out of memory.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Error> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|_| Error::SecretKey {
                algorithm: ED25519_NAME,
            })
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.public_key().as_ref());
        out
    }

    /// Signs label || message; the same message gives the same signature.
    pub fn sign(&self, label: Label, message: &[u8]) -> [u8; 64] {
        self.sign_raw(&[label.as_bytes(), message].concat())
    }

    /// Signs a checkpoint note's text as it is: C2SP's `signed-note` fixes what is signed and knows no
    /// labels. A note begins with its origin line, which never reads as one of ours.
    pub fn sign_note(&self, text: &[u8]) -> [u8; 64] {
        self.sign_raw(text)
    }

    pub(crate) fn sign_raw(&self, bytes: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        out.copy_from_slice(self.0.sign(bytes).as_ref());
        out
    }
}

impl core::fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Ed25519Signer(of {})", short(&self.public()))
    }
}

/// An Ed25519 public key, parsed once; cheap to share between threads.
#[derive(Clone)]
pub struct Ed25519Verifier(ParsedPublicKey);

impl Ed25519Verifier {
    /// Accepts the canonical encoding of a point that is not of small order: under a small-order key
    /// one signature fits every message, so its owner could disown what was signed.
    ///
    /// # Errors
    /// [`Error::PublicKey`] otherwise.
    pub fn parse(key: &[u8; 32]) -> Result<Self, Error> {
        let refused = Error::PublicKey {
            algorithm: ED25519_NAME,
        };
        // y as 255 bits, little-endian, is below p = 2^255 - 19. The other encodings that RFC 8032
        // (section 5.1.3) refuses, x = 0 with its sign set, are of small order.
        let [lowest, middle @ .., highest] = key;
        let canonical =
            highest & 0x7f != 0x7f || *lowest < 0xed || middle.iter().any(|byte| *byte != 0xff);
        match CompressedEdwardsY(*key).decompress() {
            Some(point) if canonical && !point.is_small_order() => {}
            _ => return Err(refused),
        }
        ParsedPublicKey::new(&ED25519, key)
            .map(Self)
            .map_err(|_| refused)
    }

    /// Checks a signature over label || message.
    ///
    /// # Errors
    /// [`Error::Signature`] if it is not this key's.
    pub fn verify(&self, label: Label, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.verify_raw(&[label.as_bytes(), message].concat(), signature)
    }

    pub(crate) fn verify_raw(&self, bytes: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.0
            .verify_sig(bytes, signature)
            .map_err(|_| Error::Signature {
                algorithm: ED25519_NAME,
            })
    }
}

impl core::fmt::Debug for Ed25519Verifier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Ed25519Verifier({})", short(self.0.as_ref()))
    }
}

/// One signature to check in [`verify_all`].
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// The signer's key.
    pub key: &'a Ed25519Verifier,
    /// What the signature is for.
    pub label: Label,
    /// The message without its label.
    pub message: &'a [u8],
    /// 64 bytes.
    pub signature: &'a [u8],
}

/// Checks many signatures on up to `workers` threads and answers in order. Each is verified alone:
/// batch verification accepts signatures that single verification refuses, and nodes must agree.
pub fn verify_all(checks: &[Check<'_>], workers: NonZeroUsize) -> Vec<bool> {
    /// Below this many, starting a thread costs more than it saves (a check takes some 30 us).
    const FEWEST_PER_WORKER: usize = 16;
    let one = |c: &Check<'_>| c.key.verify(c.label, c.message, c.signature).is_ok();
    let workers = workers
        .get()
        .min(checks.len().div_ceil(FEWEST_PER_WORKER))
        .max(1);
    let share = checks.len().div_ceil(workers).max(1);
    let mut valid = vec![false; checks.len()];
    std::thread::scope(|scope| {
        let mut shares = checks.chunks(share).zip(valid.chunks_mut(share));
        let own = shares.next();
        let answer = move |(checks, valid): (&[Check<'_>], &mut [bool])| {
            for (check, valid) in checks.iter().zip(valid) {
                *valid = one(check);
            }
        };
        for other in shares {
            scope.spawn(move || answer(other));
        }
        if let Some(own) = own {
            answer(own);
        }
    });
    valid
}

/// An ML-DSA-65 secret key, wiped when dropped.
pub struct MlDsa65Signer(PqdsaKeyPair);

impl MlDsa65Signer {
    /// The key of a 32-byte seed.
    ///
    /// # Errors
    /// [`Error::SecretKey`] if the library is out of memory.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Error> {
        PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, seed)
            .map(Self)
            .map_err(|_| Error::SecretKey {
                algorithm: ML_DSA_65_NAME,
            })
    }

    /// The public key, 1,952 bytes.
    pub fn public(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }

    /// Signs label || message. Signing is hedged with the library's own randomness (FIPS 204,
    /// section 3.4), so two signatures of one message differ.
    ///
    /// # Errors
    /// [`Error::SecretKey`] if the library's generator fails.
    pub fn sign(&self, label: Label, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.sign_raw(&[label.as_bytes(), message].concat())
    }

    pub(crate) fn sign_raw(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; ML_DSA_65_SIGNATURE_LEN];
        let length = self
            .0
            .sign(bytes, &mut signature)
            .map_err(|_| Error::SecretKey {
                algorithm: ML_DSA_65_NAME,
            })?;
        signature.truncate(length);
        Ok(signature)
    }
}

impl core::fmt::Debug for MlDsa65Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "MlDsa65Signer(of {})",
            short(self.0.public_key().as_ref())
        )
    }
}

/// An ML-DSA-65 public key, parsed once; cheap to share between threads.
#[derive(Clone)]
pub struct MlDsa65Verifier(ParsedPublicKey);

impl MlDsa65Verifier {
    /// Accepts the 1,952 bytes of a public key.
    ///
    /// # Errors
    /// [`Error::PublicKey`] otherwise.
    pub fn parse(key: &[u8]) -> Result<Self, Error> {
        // The length is checked here because the library also takes an X.509 wrapping of the key.
        let refused = Error::PublicKey {
            algorithm: ML_DSA_65_NAME,
        };
        if key.len() != salus_proto::keys::ML_DSA_65_PUBLIC_LEN {
            return Err(refused);
        }
        ParsedPublicKey::new(&ML_DSA_65, key)
            .map(Self)
            .map_err(|_| refused)
    }

    /// Checks a signature over label || message.
    ///
    /// # Errors
    /// [`Error::Signature`] if it is not this key's.
    pub fn verify(&self, label: Label, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.verify_raw(&[label.as_bytes(), message].concat(), signature)
    }

    pub(crate) fn verify_raw(&self, bytes: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.0
            .verify_sig(bytes, signature)
            .map_err(|_| Error::Signature {
                algorithm: ML_DSA_65_NAME,
            })
    }
}

impl core::fmt::Debug for MlDsa65Verifier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "MlDsa65Verifier({})", short(self.0.as_ref()))
    }
}

/// The first bytes of a public key, enough to tell keys apart in a log.
fn short(key: &[u8]) -> String {
    key.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        + ".."
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::{CHECKPOINT, COMMAND, SESSION};

    #[test]
    fn ed25519_answers_rfc_8032_test_2() {
        let seed: [u8; 32] =
            hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
                .unwrap()
                .try_into()
                .unwrap();
        let signer = Ed25519Signer::from_seed(&seed).unwrap();
        assert_eq!(
            hex::encode(signer.sign_raw(&[0x72])),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
    }

    #[test]
    fn every_small_order_and_non_canonical_key_is_refused() {
        // The eight points of small order and their non-canonical forms (Chalkias, Garillot,
        // Nikolaenko, "Taming the many EdDSAs", 2020, table 1), and y = p + 3.
        for key in [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            let bytes: [u8; 32] = hex::decode(key).unwrap().try_into().unwrap();
            assert!(Ed25519Verifier::parse(&bytes).is_err(), "{key}");
        }
        // y = 3 itself is a point of large order, in canonical form.
        let mut three = [0; 32];
        three[0] = 3;
        assert!(Ed25519Verifier::parse(&three).is_ok());
    }

    #[test]
    fn a_signature_holds_for_its_key_label_and_message_only() {
        let signer = Ed25519Signer::from_seed(&[1; 32]).unwrap();
        let key = Ed25519Verifier::parse(&signer.public()).unwrap();
        let other = Ed25519Signer::from_seed(&[2; 32]).unwrap().public();
        let signature = signer.sign(COMMAND, b"message");
        assert!(key.verify(COMMAND, b"message", &signature).is_ok());
        assert!(key.verify(SESSION, b"message", &signature).is_err());
        assert!(key.verify(COMMAND, b"massage", &signature).is_err());
        assert!(key.verify(COMMAND, b"message", &signature[..63]).is_err());
        assert!(
            Ed25519Verifier::parse(&other)
                .unwrap()
                .verify(COMMAND, b"message", &signature)
                .is_err()
        );
        for byte in 0..64 {
            let mut altered = signature;
            altered[byte] ^= 1;
            assert!(
                key.verify(COMMAND, b"message", &altered).is_err(),
                "byte {byte}"
            );
        }
    }

    #[test]
    fn ml_dsa_65_signatures_hold_for_their_label_and_message_only() {
        let signer = MlDsa65Signer::from_seed(&[1; 32]).unwrap();
        let key = MlDsa65Verifier::parse(&signer.public()).unwrap();
        let signature = signer.sign(CHECKPOINT, b"note").unwrap();
        assert_eq!(signature.len(), ML_DSA_65_SIGNATURE_LEN);
        assert!(key.verify(CHECKPOINT, b"note", &signature).is_ok());
        assert!(key.verify(COMMAND, b"note", &signature).is_err());
        assert!(key.verify(CHECKPOINT, b"nota", &signature).is_err());
        for byte in [0, 1, 100, 1700, 3308] {
            let mut altered = signature.clone();
            altered[byte] ^= 1;
            assert!(
                key.verify(CHECKPOINT, b"note", &altered).is_err(),
                "byte {byte}"
            );
        }
    }

    #[test]
    fn many_checks_are_answered_in_order_whatever_the_number_of_workers() {
        let signer = Ed25519Signer::from_seed(&[1; 32]).unwrap();
        let key = Ed25519Verifier::parse(&signer.public()).unwrap();
        let messages: Vec<[u8; 4]> = (0u32..100).map(u32::to_be_bytes).collect();
        let mut signatures: Vec<[u8; 64]> =
            messages.iter().map(|m| signer.sign(COMMAND, m)).collect();
        for bad in [0, 41, 99] {
            signatures[bad][7] ^= 1;
        }
        let checks: Vec<Check<'_>> = messages
            .iter()
            .zip(&signatures)
            .map(|(message, signature)| Check {
                key: &key,
                label: COMMAND,
                message,
                signature,
            })
            .collect();
        let expected: Vec<bool> = (0..100).map(|i| ![0, 41, 99].contains(&i)).collect();
        for workers in [1, 2, 3, 7, 200] {
            assert_eq!(
                verify_all(&checks, NonZeroUsize::new(workers).unwrap()),
                expected
            );
        }
        assert!(verify_all(&[], NonZeroUsize::MIN).is_empty());
    }
}
